"""Runs by a plan, and with a β that is found for each GEMM."""

import json

import pytest
import torch
from click.testing import CliRunner

from accelsim.cli.run import command
from accelsim.config import load_config
from accelsim.config.plans import load_plan
from accelsim.errors import InputError
from accelsim.records.record import Record, record_key
from workloads.bundle_writer import write_bundle
from workloads.gemm import Gemm

CONFIG = """\
workloads: [{{bundle: some.safetensors}}]
quantize: {quantize}
unpack: {{bits: 8, strategy: row}}
backends: [int64]
timing: {{repeats: 1, warmup: 0}}
{rest}
"""


@pytest.fixture
def config(tmp_path):
    torch.manual_seed(0)
    gemms = []
    for name, op, layer, phase in (
        ("model.0.up", "linear", "model.0.up", "forward"),
        ("model.0.up.dx", "linear", "model.0.up", "grad_input"),
        ("model.0.qk", "qk", "model.0", "forward"),
        ("mid", "linear", "somewhere", "forward"),
    ):
        a, b = torch.randn(6, 40), torch.randn(5, 40)
        a[0, 0] = 60.0
        gemms.append(Gemm("some", name, op, layer, phase, 1, 6, 40, 5, lambda a=a, b=b: (a, b)))
    write_bundle(tmp_path / "some.safetensors", gemms, {"model": "none"})

    def config(quantize="{beta: 31}", rest=""):
        path = tmp_path / "config.yaml"
        path.write_text(CONFIG.format(quantize=quantize, rest=rest))
        return path

    return config


def run(path, *options):
    out = path.parent / "out"
    found = CliRunner().invoke(
        command, [str(path), "-o", str(out), "--overwrite", *options], standalone_mode=False
    )
    if found.exception is not None:
        raise found.exception
    lines = (out / "records.jsonl").read_text().splitlines()
    return {record["gemm"]: record for record in map(json.loads, lines)}


def write(path, text):
    plan = path.parent / "plan.yaml"
    plan.write_text("schema: 1\ngemms:\n" + text)
    return plan


def test_a_plan_by_kind_phase_and_name(config):
    path = config(rest="plan: plan.yaml")
    plan = write(
        path,
        "  model.0.up: {weights: {beta: 127}, gradients: {beta: 1023, granularity: row}}\n"
        "  '*.qk': {attention: {beta: 15, percentile: 90}, bits: 4, strategy: block}\n"
        "  mid: {activations: {beta: 63}, phases: [forward], block: 16}\n",
    )
    found = run(path)
    assert found["model.0.up"]["beta"] == {"a": 31, "b": 127}
    assert found["model.0.up.dx"]["beta"] == {"a": 1023, "b": 127}
    assert found["model.0.up.dx"]["granularity"] == {"a": "row", "b": "tensor"}
    attention = found["model.0.qk"]
    assert (attention["beta"], attention["percentile"], attention["bits"]) == (15, 90, 4)
    assert (attention["strategy"], attention["block"]) == ("block", 32)
    assert found["mid"]["beta"] == {"a": 63, "b": 31}
    assert {record["plan"] for record in found.values()} == {load_plan(plan).hash}
    assert {record["status"] for record in found.values()} == {"ok"}
    other = {**found["mid"], "plan": None}
    assert record_key(other) != record_key(found["mid"])
    del other["plan"]
    del other["tolerance"]
    assert Record.model_validate(other).plan is None


def test_the_option_is_the_key_and_the_config_s_hash_has_the_plan(config, tmp_path):
    path = config()
    plan = write(path, "  '*': {beta: 63}\n")
    assert {record["beta"] for record in run(path, "--plan", str(plan)).values()} == {63}
    planned = config(rest="plan: plan.yaml")
    first = load_config(planned).config_hash
    write(path, "  '*': {beta: 64}\n")
    assert load_config(planned).config_hash != first


def test_wrong_plans_of_a_run(config):
    path = config(rest="plan: »plan.yaml".replace("»", ""))
    with pytest.raises(InputError, match=r"config\.yaml:6:7: plan: .*plan\.yaml: there is no such"):
        load_config(path)
    write(path, "  '*.kq': {beta: 3}\n")
    names = r"model\.0\.up, model\.0\.qk, mid"
    with pytest.raises(
        InputError, match=rf"plan\.yaml: no GEMM matches '\*\.kq'; there are: {names}"
    ):
        load_config(path)
    write(path, "  '*': {betta: 3}\n")
    with pytest.raises(InputError, match=r"plan\.yaml:3:9: .*did you mean 'beta'"):
        load_config(path)


def test_a_beta_for_a_tolerance(config):
    found = run(config("{beta: [31, auto], tolerance: 0.03}"))
    lines = (config().parent / "out" / "records.jsonl").read_text().splitlines()
    asked = [r for r in map(json.loads, lines) if r["tolerance"] is not None]
    assert len(asked) == 4
    assert len(lines) == 8
    for record in asked:
        assert record["tolerance"] == 0.03
        assert 0.015 < record["relative_error_vs_float"] < 0.06
    assert len({record["beta"] for record in asked}) > 1
    assert found["mid"]["tolerance"] == 0.03
    resumed = load_config(config("{beta: auto, tolerance: 0.02}"))
    assert resumed.to_dict()["quantize"]["beta"] == ["auto"]


@pytest.mark.parametrize(
    ("quantize", "message"),
    [
        ("{beta: auto}", "quantize.beta: auto needs quantize.tolerance"),
        ("{beta: 15, tolerance: 0.1}", "quantize.tolerance: is for `beta: auto` alone"),
        ("{beta: auto, tolerance: 0}", "quantize.tolerance: found 0; expected a relative error"),
        ("{beta: automatic}", "quantize.beta: found 'automatic'; did you mean 'auto'?"),
    ],
)
def test_wrong_tolerances(config, quantize, message):
    with pytest.raises(InputError, match=r"config\.yaml:2:\d+: ") as caught:
        load_config(config(quantize))
    assert message in str(caught.value)


def test_a_tolerance_that_no_beta_reaches_names_the_gemm(config):
    with pytest.raises(InputError, match=r"some/model\.0\.up: tolerance: no β gives an error"):
        run(config("{beta: auto, tolerance: 1.0e-12}"))
