"""What `accelsim workloads stats` counts."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from accelsim.analysis.heavy_hitters import OperandStatistics, survey, totals
from accelsim.cli import main
from accelsim.cli.workloads import command
from workloads import Gemm, shipped_bundles, write_bundle


def gemm(a, b, name="x", op="linear"):
    return Gemm("w", name, op, "", "forward", 1, *a.shape, b.shape[0], load=lambda: (a, b))


def test_counts():
    a = torch.ones(200, 50)
    a[:, 7] = 100.0
    a[3, 7] = -1000.0
    b = torch.randn(400, 50, generator=torch.Generator().manual_seed(0))
    first, second = survey([gemm(a, b)], 95, [15], [5])
    assert (first.alpha, first.alpha_ratio) == (1.0, 1000.0)
    assert first.out_of_bound == pytest.approx(200 / 10_000)
    assert first.in_rows == pytest.approx(2 / 200)
    assert first.in_columns == 1.0
    values = a.double().numpy()
    centred = values - values.mean()
    assert first.kurtosis == pytest.approx((centred**4).mean() / (centred**2).mean() ** 2)
    assert second.kurtosis == pytest.approx(3, abs=0.2)
    integers = np.rint(b.numpy() * np.float32(15 / (2 * second.alpha)))
    assert second.out_of_bound == pytest.approx((np.abs(integers) >= 16).mean())


def test_totals_weigh_by_entries():
    small, large = torch.zeros(1, 10), torch.ones(9, 10)
    found = totals(survey([gemm(small, large), gemm(large, small, "y")], 95, [15], [4]))
    by_operand = {row["operand"]: row for row in found}
    assert by_operand["a"]["gemms"] == 2
    assert by_operand["a"]["zeros"] == pytest.approx(0.1)
    assert by_operand["a"]["out_of_bound"] == pytest.approx(0.9)
    assert by_operand["a"]["alpha_ratio_max"] == 1


def test_the_median_of_an_even_count_is_between_the_middle_two():
    facts = {
        "workload": "w", "gemm": "g", "op": "linear", "layer": "", "phase": "forward",
        "operand": "a", "entries": 10, "percentile": 95, "beta": 15, "bits": 4, "alpha": 1.0,
        "kurtosis": None, "zeros": 0.0, "out_of_bound": 0.1, "in_rows": None, "in_columns": None,
    }  # fmt: skip
    (row,) = totals(OperandStatistics(**facts, alpha_ratio=ratio) for ratio in (1, 2, 4, 9))
    assert row["alpha_ratio"] == 3
    assert row["kurtosis"] is None


def test_command(tmp_path):
    path = str(shipped_bundles()[-1])
    done = CliRunner().invoke(command, ["stats", path, "--by", "gemm", "--format", "json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.output)
    assert len(rows) == 5 * 2 * 2 * 2
    assert {row["gemm"] for row in rows} >= {"smollm2.pv", "smollm2.down"}
    done = CliRunner().invoke(command, ["stats", path])
    assert "Out of bound" in done.output
    assert max(map(len, done.output.splitlines())) <= 100


@pytest.mark.parametrize(("action", "status"), [("stats", 2), ("show", 1)])
def test_what_is_not_finite_is_named_with_its_file(tmp_path, action, status):
    path = tmp_path / "x.safetensors"
    bad = torch.ones(3, 4)
    bad[2, 1] = float("nan")
    write_bundle(path, [gemm(bad, torch.ones(2, 4))], {})
    with pytest.raises(SystemExit) as end, contextlib.redirect_stderr(io.StringIO()) as err:
        main(["workloads", action, str(path)])
    assert end.value.code == status
    assert err.getvalue() == (
        f"accelsim: {path}: tensor 'x/a': found nan at [2, 1]; all entries must be finite\n"
    )


def test_figure(tmp_path):
    pytest.importorskip("seaborn")
    write_bundle(tmp_path / "x.safetensors", [gemm(torch.randn(30, 20), torch.randn(40, 20))], {})
    figure = tmp_path / "x.svg"
    done = CliRunner().invoke(
        command, ["stats", str(tmp_path / "x.safetensors"), "--figure", str(figure)]
    )
    assert done.exit_code == 0, done.output
    assert "<!-- activations -->" in figure.read_text()


def test_profile_command(tmp_path):
    path = str(shipped_bundles()[0])
    done = CliRunner().invoke(command, ["profile", path, "-o", str(tmp_path / "x.json")])
    assert done.exit_code == 0, done.output
    assert "4 kinds of operands" in done.output  # of up alone, and of all linear layers


def test_models():
    done = CliRunner().invoke(command, ["models", "--format", "json"])
    assert "smollm2-135m" in [row["name"] for row in json.loads(done.output)]
