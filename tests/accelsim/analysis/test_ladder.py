"""The ladder: integers come as close to the product as β asks for, whatever digits it takes."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from accelsim.analysis.ladder import Ladder, Rung, middle, tf32
from accelsim.cli.ladder import command
from accelsim.settings import Unpacking
from accelsim.types import PerOperand, StrategyChoice
from gemm_backends import load_backend
from workloads import open_bundle


@pytest.fixture
def bundle(tmp_path):
    torch.manual_seed(0)
    a, b = torch.randn(24, 64), torch.randn(16, 64)
    a[:, 2] *= 30
    path = tmp_path / "pair.safetensors"
    save_file({"one/a": a, "one/b": b}, path)
    return path


def ladder(betas, **how):
    unpacking = Unpacking(PerOperand.both(8), "balanced", StrategyChoice("block"), 16)
    return Ladder(betas, 95, "row", unpacking, load_backend("int64"), 1, **how)


def test_errors_fall_as_beta_grows_down_to_float32(bundle):
    (gemm,) = open_bundle(bundle).gemms
    betas = (15.0, 255.0, 4095.0, 2.0**16, 2.0**23)
    rungs = list(ladder(betas).rungs(gemm))
    integers = [rung for rung in rungs if rung.way == "integers"]
    assert [rung.beta for rung in integers] == list(betas)
    errors = [rung.error for rung in integers]
    assert errors == sorted(errors, reverse=True)
    assert [rung.ratio for rung in integers] == sorted(rung.ratio for rung in integers)
    assert errors[1] == pytest.approx(errors[0] / 17, rel=0.25)
    floats = {rung.way: rung.error for rung in rungs if rung.way != "integers"}
    assert floats["fp32"] < floats["tf32, emulated"] < floats["bf16"]
    assert errors[-1] < 1.5 * floats["fp32"]
    assert errors[2] < floats["bf16"]


def test_the_error_is_that_of_the_rounded_operands(bundle):
    (gemm,) = open_bundle(bundle).gemms
    a, b = (x.double().numpy() for x in gemm.load())
    (rung, *_) = ladder((62.0,)).rungs(gemm)

    def rounded(x):
        alpha = np.sort(np.abs(x), axis=1)[:, -max(1, x.shape[1] * 5 // 100)][:, None]
        scale = np.float32(62 / (2 * alpha)).astype(np.float64)
        return np.rint(x * scale) / scale

    expected = np.linalg.norm(rounded(a) @ rounded(b).T - a @ b.T) / np.linalg.norm(a @ b.T)
    assert rung.error == pytest.approx(expected, rel=1e-3)


def test_tf32_keeps_eleven_bits_and_rounds_to_even():
    assert tf32(torch.tensor([1.0, 1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-11])).tolist() == [
        1.0, 1 + 2**-10, 1.0, 1 + 2**-9,
    ]  # fmt: skip
    x = torch.randn(1000)
    assert (tf32(x) - x).abs().max() <= x.abs().max() * 2**-11
    assert torch.equal(tf32(-x), -tf32(x))
    assert torch.equal(tf32(tf32(x)), tf32(x))


def test_medians_over_gemms():
    rungs = [Rung("integers", 15, error, ratio, 1.0) for error, ratio in ((1, 2), (3, 4), (9, 8))]
    assert middle(rungs) == Rung("integers", 15, 3, 4, 1.0)


def invoke(*arguments):
    found = CliRunner().invoke(command, [*map(str, arguments), "--format", "json"],
                               standalone_mode=False)  # fmt: skip
    if found.exception is not None:
        raise found.exception
    return json.loads(found.stdout)


def test_the_command_writes_records_a_table_and_a_figure(bundle, tmp_path):
    pytest.importorskip("matplotlib")
    out, figure = tmp_path / "run", tmp_path / "ladder.svg"
    options = ["--beta", 15, "--beta", 4095, "--backend", "int64", "--repeats", 1, "-o", out]
    rows = invoke(bundle, *options, "--figure", figure)
    assert [row["way"] for row in rows] == ["integers"] * 2 + ["fp32", "tf32, emulated", "bf16"]
    assert rows[3]["ms"] is None, "what is emulated has no time"
    assert figure.stat().st_size > 1000
    lines = (out / "records.jsonl").read_text().splitlines()
    assert len(lines) == 5
    (out / "records.jsonl").write_text(lines[0] + "\n")
    again = invoke(bundle, *options, "--resume")
    assert [row["relative error"] for row in again] == [row["relative error"] for row in rows]
    assert len((out / "records.jsonl").read_text().splitlines()) == 5
