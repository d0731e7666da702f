"""Time the pipeline beside what a user would run instead, and judge every integer of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from accelsim.gpu.judge import judge
from accelsim.gpu.operands import draw
from accelsim.gpu.rates import BYTES_PER_S, INT8_MACS_PER_S
from accelsim.gpu.rivals import rivals
from accelsim.measure.interleave import captured, interleaved
from accelsim.types import PerOperand
from gemm_backends.cuda.fused.pipeline import Pipeline


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
    pipeline = Pipeline(a, b, PerOperand(percentile, percentile), PerOperand(beta, beta), prepared)
    graph = pipeline.capture()
    stages = pipeline.stages()
    stage_graphs = {stage.name: captured(stage.run) for stage in stages}
    others = rivals(a, b, with_torchao)
    times = interleaved(
        {"total": graph.replay, **others, **{k: g.replay for k, g in stage_graphs.items()}},
        repeats,
        3,
        device,
    )
    # Poison what the run must write, run as it was timed, and judge that run.
    pipeline.out.fill_(float("nan"))
    graph.replay()
    pipeline.check()
    macs = pipeline.low_bit_macs
    verdict, rounded = judge(pipeline, a, b, percentile, beta)
    reference = a.to(torch.float64) @ b.to(torch.float64).T
    errors = {"pipeline": _error(pipeline.out, reference)}
    errors |= {name: _error(multiply(), reference) for name, multiply in others.items()}
    summaries = {name: samples.summary() for name, samples in times.items()}
    total = summaries["total"]["median"]
    return {
        "all_exact": verdict.exact and rounded,
        "plan": asdict(pipeline.plan),
        "exact": verdict.exact,
        "mismatches": verdict.mismatches,
        "max_abs_error": verdict.max_abs_error,
        "rounded_once": rounded,
        "ratio": macs / (n * d * h),
        "low_bit_macs": macs,
        "time_ms": {name: summaries[name] for name in ("total", *(stage.name for stage in stages))},
        "floor_ms": {
            stage.name: max(stage.bytes_moved / BYTES_PER_S, stage.macs / INT8_MACS_PER_S) * 1e3
            for stage in stages
        },
        "rivals_ms": {name: summaries[name] for name in others},
        "speedup_vs": {name: summaries[name]["median"] / total for name in others},
        "relative_error": errors,
    }


def _error(result: Tensor, reference: Tensor) -> float:
    difference = torch.linalg.vector_norm(result.to(torch.float64) - reference)
    return float(difference / torch.linalg.vector_norm(reference))
