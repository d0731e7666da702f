"""``accelsim doctor --build``: the CUDA kernels, compiled ahead of time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gemm_backends.actions import Action, Outcome

if TYPE_CHECKING:
    from gemm_backends.base import GemmBackend


def _build_int8(backend: GemmBackend) -> Iterator[Outcome]:
    from gemm_backends.cuda.cutlass_kernels import DEQUANTIZING, HOPPER, OTHERS, build_for_gpus
    from gemm_backends.cuda.fused.offer import SOURCES

    return build_for_gpus((*HOPPER, DEQUANTIZING, *OTHERS), SOURCES)


def _build_int4(backend: GemmBackend) -> Iterator[Outcome]:
    from gemm_backends.cuda.cutlass_int4 import KERNELS
    from gemm_backends.cuda.cutlass_kernels import build_for_gpus

    return build_for_gpus(KERNELS)


_HELP = "Compile the CUDA kernels ahead of time."

INT8 = (Action("doctor", "build", _HELP, _build_int8),)
INT4 = (Action("doctor", "build", _HELP, _build_int4),)
