"""``accelsim config schema`` and ``accelsim config check``."""

import json
import re

import jsonschema
import pytest
import yaml

import gemm_backends
from accelsim.cli import main
from accelsim.config import load_config
from accelsim.config.config_kind import OWN_KEYS
from accelsim.config.sections import ConfigSections
from accelsim.parity.configs import EvalSections, TrainSections
from accelsim.runner.cases import list_cases

CONFIG = """\
workloads:
  - synthetic: {n: 24, d: 32, h: 16, seed: 0}
quantize: {beta: [15, 31]}
unpack: {bits: [4, 8], strategy: mix}
backends: [int64, emulator]
timing: {repeats: 3, warmup: 1}
output: out
"""


@pytest.fixture
def config(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main(["config", *map(str, arguments)])
        captured = capsys.readouterr()
        return exit_.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def test_the_schema_is_json(config):
    code, out, _ = config("schema")
    assert code == 0
    assert "workloads" in json.loads(out)["properties"]


def test_check_says_what_would_run_and_writes_nothing(config, file):
    code, out, _ = config("check", file)
    assert code == 0
    assert f"{file} is valid for accelsim run: 8 records" in out
    assert "1 GEMMs (1 of synthetic), from 24×32×16" in out
    assert "2 ways to round, 2 to unpack, 2 backends" in out
    assert "int64: on cpu" in out
    assert re.search(r"about [\d.]+ s and [\d.]+ GiB of memory", out)
    assert [path.name for path in file.parent.iterdir()] == ["config.yaml"]


def test_check_describes_each_modelled_design_in_a_line(config, tmp_path):
    path = tmp_path / "config.yaml"
    more = "frequency_mhz: 500, dram: lpddr4, mapping: {search: cycles}"
    memory = f"{{sram_kb: 256, bandwidth: {{dram: 20}}, {more}}}"
    own = f"{{name: emulator, array: [32, 16], accumulator_bits: 24, memory: {memory}}}"
    parts = "{name: emulator, memory: {sram_kb: {a: 64, b: 64, c: 128}}}"
    path.write_text(CONFIG.replace("[int64, emulator]", f"[int64, {own}, {parts}]"))
    code, out, _ = config("check", path)
    assert code == 0
    lines = out.splitlines()
    for bits in (4, 8):
        assert (
            f"  {bits}-bit emulator, 24-bit accumulators: 32x16 array, output-stationary, "
            "3 x 256 KB of SRAM, 20 bytes per cycle of DRAM (lpddr4), 500 MHz, mapped for the "
            "least cycles"
        ) in lines
        assert (
            f"  {bits}-bit emulator, 32-bit accumulators: 32x32 array, output-stationary, "
            "64 + 64 + 128 KB of SRAM, unlimited DRAM, no clock, the default order of tiles"
        ) in lines
    assert sum("-bit " in line for line in lines) == 4


def test_bandwidth_in_gigabytes_is_answered_with_an_example(config, tmp_path):
    path = tmp_path / "config.yaml"
    own = "{name: emulator, memory: {sram_kb: 256, bandwidth: 20 GB/s}}"
    path.write_text(CONFIG.replace("[int64, emulator]", f"[{own}]"))
    code, _, err = config("check", path)
    assert code == 2
    words = " ".join(err.split())
    assert "memory.bandwidth must be a mapping of dram, sram in bytes per cycle" in words
    assert "such as {dram: 20} for 20 GB/s at 1000 MHz" in words
    assert "got '20 GB/s'" in words


def test_check_takes_what_run_takes(config, file):
    code, out, _ = config("check", file, "--set", "unpack.bits=8", "--backend", "int64")
    assert code == 0
    assert "valid for accelsim run: 2 records" in out


PARITY = {
    "eval": "model: smollm2-135m\ntreatments:\n  - method: float\n  - {beta: [31, 15]}\n",
    "train": "task: gpt\nseeds: [0, 1]\ntreatments:\n  - {beta: [31, 15]}\n",
}


@pytest.mark.parametrize(("kind", "records"), [("eval", 3), ("train", 4)])
def test_check_knows_the_configs_of_eval_and_train(config, tmp_path, kind, records):
    path = tmp_path / "c.yaml"
    path.write_text(PARITY[kind])
    code, out, err = config("check", path)
    assert code == 0, err
    assert f"{path} is valid for accelsim {kind}: {records} records" in out
    assert "results in runs/c" in out


def test_check_names_the_place_of_a_mistake_in_a_config_of_eval(config, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(PARITY["eval"] + "window: 3\n")
    code, out, err = config("check", path)
    assert (code, out) == (2, "")
    assert f"{path}:5:1: window: " in err
    assert "did you mean 'windows'?" in err


def test_check_refuses_backends_for_a_config_that_has_none(config, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(PARITY["train"])
    code, _, err = config("check", path, "--backend", "int64")
    assert code == 2
    assert "--backend is for configs of `accelsim run`" in err


@pytest.mark.parametrize("asked", ["run", "eval", "train"])
@pytest.mark.parametrize("kind", ["run", "eval", "train"])
def test_a_config_of_another_command_is_named_as_such(capsys, tmp_path, monkeypatch, asked, kind):
    if asked == kind:
        return
    path = tmp_path / "c.yaml"
    path.write_text("name: x\n" + ({"run": CONFIG} | PARITY)[kind])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main([asked, str(path)])
    assert exit_.value.code == 2
    err = capsys.readouterr().err
    assert re.search(rf"c\.yaml:2:1: \w+: this is a config of `accelsim {kind}`", err), err
    assert err.endswith(f"use accelsim {kind} {path}\n")
    assert [found.name for found in tmp_path.iterdir()] == ["c.yaml"]


def test_the_keys_that_tell_configs_apart_are_those_of_their_sections():
    sections = {"run": ConfigSections, "eval": EvalSections, "train": TrainSections}
    for kind, own in OWN_KEYS.items():
        others = [set(sections[other].model_fields) for other in sections if other != kind]
        assert own == set(sections[kind].model_fields).difference(*others), kind


@pytest.mark.parametrize("kind", ["eval", "train"])
def test_the_schemas_of_eval_and_train_take_their_configs(config, kind):
    code, out, _ = config("schema", kind)
    assert code == 0
    schema = jsonschema.Draft202012Validator(json.loads(out))
    schema.validate(yaml.safe_load(PARITY[kind]))
    assert not schema.is_valid({**yaml.safe_load(PARITY[kind]), "betas": 3})


@pytest.mark.parametrize(
    ("betas", "records"), [(30, 3240), pytest.param(3000, 324_000, marks=pytest.mark.slow)]
)
def test_a_large_sweep_is_checked_from_a_part_of_it(config, tmp_path, monkeypatch, betas, records):
    monkeypatch.setattr("accelsim.runner.estimate.BUDGET_S", 0.5)
    widths = range(16, 16 + 27)
    path = tmp_path / "large.yaml"
    path.write_text(
        "workloads: [{synthetic: {n: 8, d: 16, h: 8, seed: 0}}]\n"
        f"quantize: {{beta: {[5 + beta for beta in range(betas)]}}}\n"
        "unpack: {bits: [4, 5, 6, 8], strategy: mix}\n"
        f"backends: {[{'name': 'emulator', 'accumulator_bits': width} for width in widths]}\n"
    )
    code, out, err = config("check", path)
    assert code == 0, err
    assert f"valid for accelsim run: {records} records" in out
    assert "27 × emulator: on cpu" in out
    assert re.search(rf"from samples of \d+ of {records} settings", out), out


def test_backends_are_made_once_however_many_there_are(tmp_path, monkeypatch):
    made = []
    load = gemm_backends.load_backend
    monkeypatch.setattr(
        gemm_backends,
        "load_backend",
        lambda name, **options: made.append(options) or load(name, **options),
    )
    backends = [{"name": "emulator", "accumulator_bits": width} for width in range(20, 30)]
    path = tmp_path / "c.yaml"
    path.write_text(
        f"workloads: [{{synthetic: {{n: 8, d: 16, h: 8, seed: 0}}}}]\nbackends: {backends}\n"
    )
    config = load_config(path)
    assert len(list_cases(config, config.gemms())) == len(backends)
    assert len(made) == len(backends)


def test_check_names_the_place_of_a_mistake(config, file):
    file.write_text(CONFIG.replace("repeats", "repeat"))
    code, out, err = config("check", file)
    assert code == 2
    assert not out
    assert f"{file}:6:" in err
    assert "did you mean 'repeats'?" in err


def test_check_takes_cost_only_as_run_does(config, tmp_path):
    path = tmp_path / "counted.yaml"
    path.write_text(
        "workloads: [{synthetic: {n: 8, d: 16, h: 8, seed: 0}}]\n"
        "quantize: {beta: 15}\nunpack: {bits: 4}\nbackends: [emulator]\n"
    )
    code, out, err = config("check", path, "--cost-only")
    assert code == 0, err
    assert out.rstrip().endswith("(from samples of 1 of 1 settings; nothing is multiplied)")
    assert "multiplied" not in config("check", path)[1]
    code, _, err = config("check", "parity-inference", "--cost-only")
    assert code == 2
    assert "--cost-only is for configs of `accelsim run`; parity-inference is one of `eval`" in err
