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
            out_of_bound_b=index, speedup_vs={"fp32": 0.5 + index},
            samples_ms={"total": [1 + index + 0.1 * bits + 0.01 * k for k in range(8)]},
            baseline_samples_ms={"fp32": [2.0 + 0.01 * k for k in range(8)]},
        )
        for index in range(3)
        for bits in (2, 4, 8)
        for strategy in ("mix", "row")
        for backend in ("emulator", "int64")
    ]  # fmt: skip


@pytest.fixture(scope="session")
def modelled(make_record):
    """Return records of 3 GEMMs on 4 widths and 2 modelled arrays with memory, for 2 β.

    The energy of 2-bit multipliers is unknown.
    """
    return [
        make_record(
            gemm=f"layers.{index}.q", beta=beta, bits=bits, backend="array", execution="emulated",
            backend_options={"memory": {"dram": dram}}, cost_model="an array",
            cost_basis={"cycles": "computed", "energy_of_dram": "cited: a paper"},
            cycles=1000 * beta // (bits * dram) + index, compute_cycles=10, shift_add_cycles=0,
            stall_cycles=10 * beta // dram + index, utilization=0.5,
            seconds=1e-6 * beta / (bits * dram), relative_area=bits + dram / 4,
            area_time=beta * 100.0 / bits + dram + index, area_mm2=0.1 * (bits + dram / 4),
            energy=None if bits == 2 else 1e-6 * bits,
            energy_by={"dram": 1e-6, "sram": 2e-7, **({} if bits == 2 else {"multiply": 1e-7})},
            traffic={"dram": {"a": 100.0 * bits, "b": 50.0, "c_read": 8.0, "c_write": 8.0}},
            low_bit_macs=4096 * 16 // bits, ratio=16 / bits,
        )
        for index in range(3)
        for beta in (15, 31)
        for bits in (2, 3, 4, 8)
        for dram in (1, 4)
    ]  # fmt: skip


@pytest.fixture(scope="session")
def drawn(make_run, sweep):
    """Return the figures of the sweep, and those that were left out."""
    return draw([make_run(sweep)])


@pytest.fixture(scope="session")
def drawn_models(make_run, modelled):
    """Return the figures of the modelled accelerators, and those that were left out."""
    return draw([make_run(modelled)])
