"""`accelsim train`: curves, the gap to floats, probes, checkpoints and resuming."""

import json
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from accelsim.cli.train import command
from accelsim.errors import InputError
from accelsim.parity import steps, training
from accelsim.parity.configs import load_eval_config, load_train_config

CONFIG = """
task: gpt
batch: 2
context: 8
width: 16
layers: 1
heads: 2
steps: 6
evaluate_every: 2
seeds: [0, 1]
treatments: [{method: float}, {beta: 31}]
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "train.yaml"
    path.write_text(CONFIG)
    return path


def run(config, *options):
    result = CliRunner().invoke(command, [str(config), *options], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


def records(folder):
    lines = (folder / "records.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def without_times(found):
    times = {"seconds", "seconds_per_step"}
    return [{k: v for k, v in record.items() if k not in times} for record in found]


def test_curves_the_gap_and_the_table(config, tmp_path):
    result = run(config, "--output", str(tmp_path / "out"), "--format", "json")
    assert result.return_value == 0
    floats, integers = json.loads(result.stdout)
    assert floats["minus float"] == 0
    assert not any(column.startswith("r ") for column in floats)
    assert 0 < abs(integers["minus float"]) < 0.1
    found = records(tmp_path / "out")
    assert [(r["seed"], r["treatment"]["method"]) for r in found] == [
        (0, "float"), (0, "integers"), (1, "float"), (1, "integers"),
    ]  # fmt: skip
    assert all([step for step, _ in r["evaluations"]] == [2, 4, 6] for r in found)
    assert found[0]["losses"][-1][1] < found[0]["losses"][0][1]
    assert not list((tmp_path / "out" / "checkpoints").iterdir())
    assert (floats["% in integers"], integers["% in integers"]) == (None, 100)
    assert found[1]["tally"]["dense_macs"] > 0 == found[1]["tally"]["skipped_macs"]


def test_a_probe_changes_nothing_but_tells_the_ratio(config, tmp_path):
    run(config, "--output", str(tmp_path / "plain"), "--set", "seeds=0")
    probe = "probe={every: 3, backend: int64, bits: 4}"
    options = ["--set", "seeds=0", "--set", probe, "--format", "json"]
    rows = json.loads(run(config, "--output", str(tmp_path / "probed"), *options).stdout)
    assert rows[1]["r forward, first"] > 1
    assert rows[0]["r forward, first"] is None
    plain, probed = records(tmp_path / "plain"), records(tmp_path / "probed")
    assert [r["final"] for r in plain] == [r["final"] for r in probed]
    assert [r["losses"] for r in plain] == [r["losses"] for r in probed]
    assert [probe["step"] for probe in probed[1]["probes"]] == [0, 3]
    assert all(probe["forward_ratio"] > 1 for probe in probed[1]["probes"])
    assert all(probe["backward_ratio"] > 1 for probe in probed[1]["probes"])
    assert not probed[0]["probes"]


def test_a_run_that_was_cut_off_ends_the_same(config, tmp_path, monkeypatch):
    run(config, "--output", str(tmp_path / "whole"))
    step, calls = steps.Run._step, []

    def dies(*arguments):
        calls.append(arguments)
        if len(calls) == 10:  # the fourth step of the second run
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(steps.Run, "_step", dies)
    with pytest.raises(click.Abort):
        run(config, "--output", str(tmp_path / "cut"))
    assert len(records(tmp_path / "cut")) == 1
    assert len(list((tmp_path / "cut" / "checkpoints").iterdir())) == 1
    monkeypatch.setattr(steps.Run, "_step", step)
    result = run(config, "--output", str(tmp_path / "cut"), "--resume")
    assert "going on after step 2" in result.stderr
    assert without_times(records(tmp_path / "cut")) == without_times(records(tmp_path / "whole"))


def test_a_run_that_overwrites_starts_from_no_checkpoint_of_the_old_one(
    config, tmp_path, monkeypatch
):
    step = steps.Run._step

    def dies_at(count):
        calls = []

        def dies(*arguments):
            calls.append(arguments)
            if len(calls) == count:
                raise KeyboardInterrupt
            return step(*arguments)

        return dies

    out = tmp_path / "out"
    monkeypatch.setattr(steps.Run, "_step", dies_at(4))
    with pytest.raises(click.Abort):
        run(config, "--output", str(out))
    (checkpoint,) = (out / "checkpoints").iterdir()
    before = checkpoint.read_bytes()
    monkeypatch.setattr(steps.Run, "_step", dies_at(1))
    with pytest.raises(click.Abort):
        run(config, "--output", str(out), "--overwrite")
    assert checkpoint.read_bytes() == before, "the new run had not begun"
    monkeypatch.setattr(steps.Run, "_step", step)
    result = run(config, "--output", str(out), "--overwrite")
    assert "going on" not in result.stderr
    assert len(records(out)) == 4


def test_a_run_that_diverges_is_a_record_and_the_others_go_on(config, tmp_path):
    result = run(config, "--output", str(tmp_path / "out"), "--set", "learning_rate=1e30")
    assert result.return_value == 1
    found = records(tmp_path / "out")
    assert len(found) == 4
    assert all(r["final"] is None and "step" in r["reason"] for r in found if r["reason"])
    assert any(r["reason"] for r in found)


def test_nothing_replaced_and_globs_that_match_nothing(config, tmp_path):
    for change, message in (
        ("treatments.1.skip=[hed]", "skip: no GEMM can match 'hed'; layers with weights: "),
        ("treatments.1.gemms=['*.q', 'nothing*']", "gemms: no GEMM can match "),
    ):
        with pytest.raises(InputError, match=message):
            run(config, "--output", str(tmp_path / message[:4]), "--set", change)
    change = "treatments=[{skip: '*'}]"
    result = run(config, "--output", str(tmp_path / "out"), "--set", change)
    assert result.return_value == 1
    reasons = [record["reason"] for record in records(tmp_path / "out")]
    assert reasons == ["step 0: no GEMM was computed in integers"] * 2


WRONG = """\
from gemm_backends import Accumulator, GemmBackend

class Wrong(GemmBackend):
    name, bits, accumulator = "off-by-one", 8, Accumulator(32, "wrap")
    def matmul(self, a, b): return a.int() @ b.int().mT + 1
"""


def test_a_backend_that_is_wrong_fails_the_run_where_it_is_checked(config, tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    for check, status in (("false", 0), ("true", 1)):
        change = f"treatments=[{{beta: 31, backend: 'wrong.py:Wrong', check: {check}}}]"
        options = ["--set", change, "--set", "seeds=0", "--set", "steps=2"]
        assert run(config, "--output", str(tmp_path / check), *options).return_value == status
    (record,) = records(tmp_path / "true")
    assert record["tally"]["inexact"] == record["tally"]["checked"] > 0


def test_everything_comes_from_the_seed():
    torch.manual_seed(99)
    task = training.TASKS["gpt"](batch=2, context=8, width=16, layers=1, heads=2)
    assert torch.equal(task.batch(3, 1), task.batch(3, 1))
    assert not torch.equal(task.batch(3, 1), task.batch(3, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("task=gtp", "--set task=gtp: task: unknown value 'gtp'; did you mean 'gpt'"),
        ("steps=0", "steps: found 0; expected a whole number, at least 1"),
        ("heads=3", "heads: found 3; expected a divisor of width 16"),
        ("treatments=[]", r"treatments: found \[\]; expected a list of mappings"),
        ("treatments.1.beta=0", "expected a number above 0"),
        ("treatments.1.backend=emulater", "did you mean 'emulator'"),
        ("treatments.1.strategy=mixx", "did you mean 'mix'"),
        ("treatments.1.bta=3", "unknown key 'bta'; did you mean 'beta'"),
        (
            "treatments.1.strategy=[mix, {name: optimal, time_limit: 3}]",
            "treatments.1.strategy.1.time_limit: strategy 'optimal': unknown option 'time_limit'",
        ),
        ("treatments.1.granularity=rows", "treatments.1.granularity: .* did you mean 'row'"),
        ("treatments.1.beta={weights: 3}", "treatments.1.beta: nothing for activations"),
        ("treatments.1.beta={weigths: 3}", "beta.weigths: unknown key .* did you mean 'weights'"),
        ("treatments.1.beta={a: 3, b: 5}", "beta.a: unknown key 'a' .known: activations, att"),
        ("treatments.1.digits=papr", "unknown digit system 'papr'; did you mean 'paper'"),
        (
            "treatments.1.backend={name: emulator, bits: 40}",
            "backend.bits: backend .* bits must be from 2",
        ),
        ("probe={backend: int46}", "did you mean 'int64'"),
        ("data=glyphs", "--set data=glyphs: data: found glyphs; expected pydoc or gcide for a gpt"),
        ("vocabulary=300", "vocabulary: found 300; expected a whole number, at least 320"),
        ("treatments.1.seeds=[]", "seeds: found"),
        ("probe={bits: 4}", "missing key 'backend'; expected the name of a backend"),
        ("treatments=[{beta: 3},{beta: [3]}]", "β = 3 already exists"),
    ],
)
def test_wrong_configs(config, change, message):
    with pytest.raises(InputError, match=message):
        load_train_config(config, [change])


def test_a_missing_device(config, tmp_path):
    with pytest.raises(InputError, match="device 'cuda:99' cannot be used here"):
        run(config, "--device", "cuda:99", "--output", str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: smollm\ntreatments: [{}]", "e.yaml:1:8: model: unknown model 'smollm'; did you"),
        ("model: smollm2-135m\ntreatments: [{}]\ntext: absent.txt", "there is no such file"),
        ("treatments: [{}]", "missing key 'model'"),
    ],
)
def test_wrong_configs_of_eval(tmp_path, text, message):
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_eval_config(tmp_path / "e.yaml")


ARRAY = """\
from gemm_backends import Accumulator, GemmBackend

class Array(GemmBackend):
    name, bits, accumulator = "parity-array", 8, Accumulator(32, "wrap")
    def matmul(self, a, b): return a.int() @ b.int().mT
"""


def test_a_backend_in_a_file_is_looked_for_from_the_configs_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    Path("sub", "array.py").write_text(ARRAY)
    Path("sub", "e.yaml").write_text("model: minilm-l6\ntreatments: [{backend: array.py:Array}]\n")
    (treatment,) = load_eval_config(Path("sub/e.yaml")).treatments
    assert treatment.backend.target == "sub/array.py:Array"
    assert treatment.to_record()["backend"] == "array.py:Array"
    Path("sub", "t.yaml").write_text(
        "task: gpt\ntreatments: [{}]\nprobe: {backend: array.py:Array}\n"
    )
    assert load_train_config(Path("sub/t.yaml")).probe.backend.target == "sub/array.py:Array"


def test_the_published_configs_are_right():
    configs = sorted((training.Path(__file__).parents[3] / "configs").glob("parity-*.yaml"))
    assert len(configs) == 15
    for path in configs:
        trains = "training" in path.stem or "real" in path.stem
        load = load_train_config if trains else load_eval_config
        assert len(load(path).treatments) >= (3 if path.stem == "parity-rows" else 4)
