"""The requests that the fused route accepts: it may refuse kinds, never values."""

from __future__ import annotations

import torch

from accelsim.kernels.launches import LAUNCHES
from accelsim.kernels.nvcc import missing_tools
from accelsim.kernels.select import SOURCE as SELECT
from accelsim.kernels.select import TYPES
from accelsim.types import Request, Route
from gemm_backends.cuda.cutlass_kernels import has_wgmma
from gemm_backends.cuda.fused.few import FEW_ROWS
from gemm_backends.cuda.fused.operand import HIGH_PARTS, PLANES, SPLIT
from gemm_backends.cuda.fused.rounder import ROW_SCALES
from gemm_backends.cuda.fused.route import FusedRoute
from gemm_backends.cuda.fused.rows import ROUND_ROWS
from gemm_backends.cuda.fused.status import STATUS
from gemm_backends.cuda.fused.way import PACK
from gemm_backends.types import Support

BITS = 8

SOURCES = (
    LAUNCHES, SELECT, ROW_SCALES, ROUND_ROWS, SPLIT, PLANES, HIGH_PARTS, STATUS, PACK, FEW_ROWS,
)  # fmt: skip
"""The kernels of the route other than its GEMMs."""

OUTPUTS = (None, torch.float32, torch.float16, torch.bfloat16)


def offer(request: Request) -> Route | Support:
    """Return the route for a request, or why there is none."""
    refusal = _refusal(request)
    return Support(False, refusal) if refusal else FusedRoute(request)


def _refusal(request: Request) -> str:
    for digits in (request.digits.a, request.digits.b):
        if digits.bits != BITS or digits.name != "balanced":
            return (
                f"the fused route has balanced digits of {BITS} bits, not {digits.name} ones of "
                f"{digits.bits}"
            )
    if request.device.type != "cuda":
        return f"the fused route needs a CUDA device, not {request.device}"
    if request.dtype not in TYPES:
        return f"the fused route takes float32, float16 and bfloat16, not {request.dtype}"
    if request.output not in OUTPUTS:
        return f"the fused route has no results of {request.output}"
    if request.k_split == "never":
        return "the fused route cuts K wherever sums could overflow; k_split must be auto"
    if not has_wgmma():
        return "the fused route needs compute capability 9.0 (Hopper)"
    return missing_tools(cutlass=True)
