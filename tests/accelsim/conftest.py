"""Records to test with."""

from collections.abc import Callable
from typing import Any

import pytest

from accelsim.records import Quartiles, Record

NOT_RUN = {
    "exact": None,
    "mismatches": None,
    "max_abs_error": None,
    "ratio": None,
    "low_bit_macs": None,
    "execution": None,
    "time_ms": {},
    "baselines": {},
}


def times(total: float, repeats: int = 20) -> dict[str, Quartiles]:
    """Return stages that add up to `total` ms: three quarters in the GEMM, a quarter in unpack."""
    stages = {"quantize": 0.0, "unpack": total / 4, "gemm": 3 * total / 4, "total": total}
    return {
        name: Quartiles(median=value, p25=0.9 * value, p75=1.1 * value, repeats=repeats)
        for name, value in stages.items()
    }


@pytest.fixture(scope="session")
def make_record() -> Callable[..., Record]:
    """Return a function that makes a valid record, exact unless its arguments say otherwise."""

    def make(total_ms: float | None = 4.0, **changes: Any) -> Record:
        fields: dict[str, Any] = {
            "workload": "tiny",
            "gemm": "layers.0.q",
            "op": "linear",
            "phase": "forward",
            "n": 16,
            "d": 32,
            "h": 8,
            "percentile": 95.0,
            "beta": 31,
            "granularity": "tensor",
            "bits": 4,
            "strategy": "mix",
            "strategy_chosen": "row/column",
            "digits": "balanced",
            "backend": "emulator",
            "execution": "native",
            "status": "ok",
            "exact": True,
            "mismatches": 0,
            "max_abs_error": 0,
            "dense_macs": 4096,
            "low_bit_macs": 5000,
            "ratio": 5000 / 4096,
            "time_ms": {} if total_ms is None else times(total_ms),
            "baselines": {"fp32": 2.0},
        }
        if changes.get("status") in ("unavailable", "unsupported", "error", "timeout"):
            fields |= NOT_RUN
        return Record(**(fields | changes))

    return make
