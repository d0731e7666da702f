"""``accelsim gpu`` without a GPU, and its tables."""

import pytest
import torch

from accelsim.cli import main
from accelsim.gpu.tables import tables


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_could_run(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["gpu"])
    assert ended.value.code == 3
    assert "no CUDA device" in capsys.readouterr().err


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
