"""Time the pipeline beside what a user would run instead, and judge every integer of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from accelsim.gpu.judge import judge
from accelsim.gpu.operands import draw
from accelsim.gpu.rates import BYTES_PER_S, INT8_MACS_PER_S
from accelsim.gpu.rivals import rivals
from accelsim.gpu.route import TimedRoute
from accelsim.measure.interleave import interleaved
from accelsim.measure.timing import TimeSummary
from accelsim.types import Counts


def benchmark(
    shape: tuple[int, int, int],
    kind: str,
    percentile: float,
    beta: float,
    prepared: bool,
    repeats: int = 30,
    with_torchao: bool = False,
    device: torch.device | None = None,
) -> dict[str, Any]:
    """Time one GEMM end to end, bfloat16 in and out, and compare every integer with the oracle.

    Parameters
    ----------
    shape : tuple of int
        n, h and d.
    kind : str
        Of operands, see `accelsim.gpu.operands`.
    percentile, beta : float
        Of the quantization, for both operands.
    prepared : bool
        Whether B was quantized and unpacked ahead.
    repeats : int
        Timed repeats of each candidate.
    with_torchao : bool
        Whether torchao's int8 dynamic quantization runs beside it.
    device : torch.device, optional
        A CUDA device.

    Returns
    -------
    dict
        Plain JSON types; times are medians in ms.
    """
    device = device or torch.device("cuda")
    n, h, d = shape
    a, b = draw(kind, n, d, h, torch.bfloat16, device)
    route = TimedRoute(a, b, percentile, beta, prepared)
    others = rivals(a, b, with_torchao)
    times = interleaved({"total": route.graph.replay, **others}, repeats, 3, device)
    stages = route.stage_times(repeats)
    # Poison what the run must write, run as it was timed, and judge that run.
    route.out.fill_(float("nan"))
    route.graph.replay()
    route.route.check()
    counts = route.route.counts()
    verdict, rounded = judge(route, a, b, percentile, beta)
    reference = a.to(torch.float64) @ b.to(torch.float64).T
    errors = {"pipeline": _error(route.out, reference)}
    errors |= {name: _error(multiply(), reference) for name, multiply in others.items()}
    summaries = {name: samples.summary() for name, samples in times.items()}
    total = summaries["total"]["median"]
    return {
        "all_exact": verdict.exact and rounded,
        "exact": verdict.exact,
        "mismatches": verdict.mismatches,
        "max_abs_error": verdict.max_abs_error,
        "rounded_once": rounded,
        "ratio": counts.ratio,
        "replans": counts.replans,
        "strategy_chosen": counts.strategy_chosen,
        "low_bit_macs": counts.low_bit_macs,
        "time_ms": {
            "total": summaries["total"],
            **{name: _summary(value, repeats) for name, value in stages.items()},
        },
        "floor_ms": _floors(a, b, prepared, counts),
        "rivals_ms": {name: summaries[name] for name in others},
        "speedup_vs": {name: summaries[name]["median"] / total for name in others},
        "relative_error": errors,
    }


def _floors(a: Tensor, b: Tensor, prepared: bool, counts: Counts) -> dict[str, float]:
    new = a.numel() + (0 if prepared else b.numel())
    size = a.element_size()
    return {
        "quantize": new * size / BYTES_PER_S * 1e3,
        "unpack": (new * (size + 1) + counts.gather_bytes) / BYTES_PER_S * 1e3,
        "gemm": counts.executed_macs / INT8_MACS_PER_S * 1e3,
        "pack": a.shape[0] * b.shape[0] * (4 + size) / BYTES_PER_S * 1e3,
    }


def _summary(median: float, repeats: int) -> TimeSummary:
    return {"median": median, "p25": median, "p75": median, "repeats": repeats}


def _error(result: Tensor, reference: Tensor) -> float:
    difference = torch.linalg.vector_norm(result.to(torch.float64) - reference)
    return float(difference / torch.linalg.vector_norm(reference))
