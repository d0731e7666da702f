"""`accelsim ratios`: the unpack ratios of trained models."""

import json

import pytest
from click.testing import CliRunner

from accelsim.cli.ratios import command
from accelsim.cli.train import command as train
from accelsim.errors import InputError

CONFIG = """
task: gpt
batch: 2
context: 8
width: 16
layers: 1
heads: 2
steps: 2
evaluate_every: 2
keep: {keep}
treatments: [{{method: float}}, {{beta: 15}}]
"""


def invoke(which, *arguments):
    result = CliRunner().invoke(which, list(map(str, arguments)), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def trained(tmp_path, keep="true"):
    (tmp_path / "train.yaml").write_text(CONFIG.format(keep=keep))
    invoke(train, tmp_path / "train.yaml", "--output", tmp_path / "out")
    return tmp_path / "out"


def test_ratios_by_kind_of_gemm_and_width(tmp_path):
    out = trained(tmp_path)
    options = ["--bits", 3, "--bits", 8, "--format", "json"]
    rows = json.loads(invoke(command, out, *options))
    found = {(r["treatment"][:5], r["bits"], r["op"], r["phase"]): r for r in rows}
    assert len(found) == len(rows) == 2 * 2 * 11
    assert [r["beta"] for r in rows[:: len(rows) // 2]] == [{"default": 31, "gradients": 1023}, 15]
    for row in rows:
        assert row["ratio"] >= 1
    for method in ("float", "p = 9"):
        forward = found[method, 3, "all", "forward"]
        parts = [found[method, 3, op, "forward"] for op in ("linear", "qk", "pv")]
        assert forward["gemms"] == sum(part["gemms"] for part in parts) == 7
        whole = sum(part["ratio"] * part["macs"] for part in parts)
        assert whole / forward["macs"] == pytest.approx(forward["ratio"])
        assert forward["ratio"] > found[method, 8, "all", "forward"]["ratio"]
        assert found[method, 3, "all", "backward"]["gemms"] == 14
    fine = found["float", 8, "linear", "grad_weight"]["ratio"]
    assert fine > found["p = 9", 8, "linear", "grad_weight"]["ratio"], "1023 for gradients"
    table = invoke(command, out, "--bits", 3, "--bits", 8, "--format", "markdown")
    assert "r at b = 3" in table
    assert len(table.strip().splitlines()) == 2 + 2 * 11


def test_without_checkpoints_there_is_nothing_to_look_at(tmp_path):
    with pytest.raises(InputError, match="no checkpoint of a trained model; train with `keep: tr"):
        invoke(command, trained(tmp_path, keep="false"))
