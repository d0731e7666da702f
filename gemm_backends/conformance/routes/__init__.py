"""Checks of a backend's fused route; they are skipped where it has none."""

from gemm_backends.conformance.check import Check
from gemm_backends.conformance.routes import counting, exactness, graphs, inputs, reuse

CHECKS: tuple[Check, ...] = (
    *exactness.CHECKS,
    *reuse.CHECKS,
    *inputs.CHECKS,
    *counting.CHECKS,
    *graphs.CHECKS,
)

__all__ = ["CHECKS"]
