"""Runs to make reports of."""

from pathlib import Path

import pytest

from accelsim.records import Run
from accelsim.report.figures import draw

SESSION = {
    "start": "2026-01-02T03:04:05+00:00",
    "end": "2026-01-02T03:14:05+00:00",
    "machine": {"cpu": {"model": "A CPU", "isa": ["avx2"]}, "memory_bytes": 2**35, "gpus": []},
    "clock_source": {"cpu": "a clock"},
    "git": {"commit": "0123456789abcdef", "dirty": False},
    "roofs": {
        "compute": [
            {"backend": "emulator", "backend_options": {}, "bits": 4, "device": "cpu", "tops": 0.01}
        ],
        "bandwidth_gb_s": {"cpu": 10.0},
    },
}
CONFIG = {"workloads": [{"bundle": "tiny"}], "backends": ["emulator"], "timing": {"repeats": 20}}


@pytest.fixture(scope="session")
def make_run():
    """Return a function that makes a run of records."""

    def make(records, name="first"):
        return Run(Path(name) / "records.jsonl", CONFIG, tuple(records), (SESSION,))

    return make


@pytest.fixture(scope="session")
def sweep(make_record):
    """Return records of 3 GEMMs, 3 widths, 2 strategies and 2 backends, the second slower."""
    return [
        make_record(
            total_ms=1 + index + 0.1 * bits + 0.5 * (backend == "int64"),
            gemm=f"layers.{index}.q", op=("linear", "qk", "pv")[index % 3], bits=bits,
            strategy=strategy, backend=backend, low_bit_macs=4096 * 8 // bits + index,
            ratio=(4096 * 8 // bits + index) / 4096, gemm_bytes=2048, out_of_bound_a=80 // bits,
            out_of_bound_b=index, area_time=100.0 * bits + index, speedup_vs={"fp32": 0.5 + index},
        )
        for index in range(3)
        for bits in (2, 4, 8)
        for strategy in ("mix", "row")
        for backend in ("emulator", "int64")
    ]  # fmt: skip


@pytest.fixture(scope="session")
def drawn(make_run, sweep):
    """Return the figures of the sweep, and those that were left out."""
    return draw([make_run(sweep)])
