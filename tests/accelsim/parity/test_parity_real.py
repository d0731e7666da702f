"""The configs of parity at real scale, each run as a tiny variant of itself on the CPU."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from accelsim.cli.train import command
from accelsim.parity.configs import load_train_config
from accelsim.parity.training import _all_runs

CONFIGS = sorted((Path(__file__).parents[3] / "configs").glob("parity-real-*.yaml"))

TINY = [
    "device=cpu", "width=16", "heads=2", "layers=1", "batch=2", "steps=2", "evaluate_every=2",
    "warmup=1", "check_steps=1", "probe.backend=int64", "keep=false",
]  # fmt: skip


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_tiny_variant_runs_wholly_in_integers_that_are_exact(path, tmp_path):
    task = load_train_config(path).sections.task
    if task == "vit":
        pytest.importorskip("sklearn", reason="needs accelsim[models]")
        changes = [*TINY, "data=digits"]
    else:
        if task != "gpt":
            pytest.importorskip("transformers", reason="needs accelsim[models]")
        changes = [*TINY, "data=pydoc", "context=16", "vocabulary=null"]
    arguments = [str(path), "--output", str(tmp_path / "out"), "--treatment", "3", "--seed", "0"]
    for change in changes:
        arguments += ["--set", change]
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    (record,) = [
        json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()
    ]
    assert not record["reason"]
    assert record["treatment"]["beta"] == {"default": 31.0, "gradients": 1023.0}
    tally = record["tally"]
    assert (tally["coverage"], tally["skipped"], tally["inexact"]) == (1, {}, 0)
    assert tally["checked"] > 15
    assert len(record["checked_steps"]) == 1
    assert [probe["bits"] for probe in record["probes"]] == [4, 8]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_runs_that_were_asked_for(path):
    config = load_train_config(path)
    large = "85m" in path.stem
    assert config.sections.steps >= 2000
    assert config.sections.check_steps == 50
    assert len(_all_runs(config)) == (4 if large else 7 if "llama" in path.stem else 11)
    records = [treatment.to_record() for treatment in config.treatments]
    gradients = {r["beta"]["gradients"] for r in records if isinstance(r.get("beta"), dict)}
    assert gradients == {1023, 16383}
    assert {r["beta"] for r in records if isinstance(r.get("beta"), int | float)} == (
        set() if large else {31, 15, 7}
    )
    assert {"float", "bf16"} < {r["method"] for r in records}
