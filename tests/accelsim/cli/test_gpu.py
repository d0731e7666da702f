"""``accelsim gpu`` without a GPU, and its tables."""

from pathlib import Path

import pytest
import torch

import workloads
from accelsim.cli import main
from accelsim.gpu.operands import draw
from accelsim.gpu.tables import tables
from workloads import open_bundle


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_could_run(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["gpu"])
    assert ended.value.code == 3
    assert "no CUDA device" in capsys.readouterr().err


BUNDLE = Path(workloads.__file__).parent / "data" / "smollm2.safetensors"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--operands", "scatered"], "did you mean 'scattered'"),
        (["--operands", f"{BUNDLE}:smollm2.k"], "did you mean 'smollm2.q"),
        (["--operands", "nowhere.safetensors:q"], "nowhere.safetensors"),
        (["--shape", "0", "8", "8"], "--shape"),
        (["--beta", "-1"], "--beta"),
        (["--percentile", "101"], "--percentile"),
    ],
)
def test_a_wrong_call_ends_before_anything_runs(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["gpu", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_captured_operands_are_repeated_until_they_fill_the_shape():
    a, b = draw(f"{BUNDLE}:smollm2.q", 200, 700, 250, torch.float32, torch.device("cpu"))
    gemm = next(gemm for gemm in open_bundle(BUNDLE).gemms if gemm.name == "smollm2.q")
    x, y = (tensor.float() for tensor in gemm.load())
    assert (a.shape, b.shape) == ((200, 700), (250, 700))
    rows, columns = torch.arange(200) % 128, torch.arange(700) % 576
    assert torch.equal(a, x[rows][:, columns])
    assert torch.equal(b, y[torch.arange(250) % 192][:, columns])


@pytest.mark.parametrize(("kind", "heavy"), [("plain", 0), ("channels", 2), ("scattered", 0)])
def test_synthetic_operands_have_the_columns_that_they_promise(kind, heavy):
    a, b = draw(kind, 600, 2048, 500, torch.float32, torch.device("cpu"))
    above = (a.abs() > 6).sum(dim=0)
    assert (above > 300).sum() == heavy
    assert ((b.abs() > 6).sum() > 0) == (kind == "scattered")


def summary(median):
    return {"median": median, "p25": median, "p75": median, "repeats": 3}


GEMM = {
    "measured": "gemm", "n": 64, "h": 32, "d": 16, "status": "ok", "reason": "",
    "time_ms": {"bf16": summary(2.0), "narrow": summary(1.0)},
    "backends": {"narrow": {"exact": True, "mismatches": 0, "execution": "emulated"}},
}  # fmt: skip
FRONT = {
    "measured": "front-end", "size": 512, "stage": "select", "dtype": "float32", "percentile": 95.0,
    "status": "ok", "reason": "", "time_ms": summary(0.3), "floor_ms": 0.1,
}  # fmt: skip
PIPELINE = {
    "measured": "pipeline", "n": 64, "h": 32, "d": 16, "operands": "plain", "beta": 31.0,
    "prepared": ["b"], "status": "inexact", "reason": "", "ratio": 1.25,
    "time_ms": {"total": summary(1.5), "gemm": summary(1.0)}, "floor_ms": {"gemm": 0.5},
    "rivals_ms": {"bf16": summary(3.0)}, "speedup_vs": {"bf16": 2.0},
    "relative_error": {"pipeline": 0.01, "bf16": 0.002},
}  # fmt: skip


def test_tables_show_emulation_floors_and_what_is_not_exact():
    text = tables([GEMM, FRONT, PIPELINE])
    assert "| n × h × d | bf16 | narrow (emulated) | integers exact |" in text
    assert "| 64×32×16 | 2.000 | 1.000 | yes |" in text
    assert "| 512² | select, float32 | 0.300 | 0.100 | 3.00 | yes |" in text
    assert "| 1.000 / 0.500 |" in text
    assert "3.000 (×2.00)" in text
    assert text.rstrip().endswith("| NO |")


def test_what_could_not_run_has_its_reason():
    failed = {**PIPELINE, "status": "unsupported", "reason": "too many", "prepared": []}
    for key in ("time_ms", "floor_ms", "rivals_ms", "speedup_vs", "relative_error", "ratio"):
        del failed[key]
    lines = tables([PIPELINE, failed]).splitlines()
    assert lines[-1].endswith("| too many |")
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
