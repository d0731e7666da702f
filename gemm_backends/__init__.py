"""Accelerators as pluggable backends that multiply matrices of low-bit integers.

Importing this package imports no backend, and PyTorch only when a name that needs it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelsim.arithmetic.sparse import SparseDigits as SparseDigits
    from accelsim.errors import InputError as InputError
    from accelsim.types import Counts as Counts
    from accelsim.types import PerOperand as PerOperand
    from accelsim.types import PreparedOperand as PreparedOperand
    from accelsim.types import Request as Request
    from accelsim.types import Rounding as Rounding
    from accelsim.types import Route as Route
    from gemm_backends.actions import Action as Action
    from gemm_backends.actions import Outcome as Outcome
    from gemm_backends.base import GemmBackend as GemmBackend
    from gemm_backends.corrections import Corrections as Corrections
    from gemm_backends.corrections import HighDigits as HighDigits
    from gemm_backends.declaration import API_VERSION as API_VERSION
    from gemm_backends.errors import AccumulatorOverflow as AccumulatorOverflow
    from gemm_backends.errors import BackendError as BackendError
    from gemm_backends.loading import backend_class as backend_class
    from gemm_backends.loading import list_backends as list_backends
    from gemm_backends.loading import load_backend as load_backend
    from gemm_backends.loading import register as register
    from gemm_backends.operands import Prepared as Prepared
    from gemm_backends.types import Accumulator as Accumulator
    from gemm_backends.types import Availability as Availability
    from gemm_backends.types import Cost as Cost
    from gemm_backends.types import GemmSpec as GemmSpec
    from gemm_backends.types import Operand as Operand
    from gemm_backends.types import OverflowReport as OverflowReport
    from gemm_backends.types import Support as Support
    from gemm_backends.types import Tile as Tile
    from gemm_backends.types import UnpackWork as UnpackWork

_PLACES = {
    "accelsim.arithmetic.sparse": ("SparseDigits",),
    "accelsim.errors": ("InputError",),
    "accelsim.types": ("Counts", "PerOperand", "PreparedOperand", "Request", "Rounding", "Route"),
    "gemm_backends.actions": ("Action", "Outcome"),
    "gemm_backends.base": ("GemmBackend",),
    "gemm_backends.corrections": ("Corrections", "HighDigits"),
    "gemm_backends.declaration": ("API_VERSION",),
    "gemm_backends.errors": ("AccumulatorOverflow", "BackendError"),
    "gemm_backends.loading": ("backend_class", "list_backends", "load_backend", "register"),
    "gemm_backends.operands": ("Prepared",),
    "gemm_backends.types": (
        *("Accumulator", "Availability", "Cost", "GemmSpec", "Operand"),
        *("OverflowReport", "Support", "Tile", "UnpackWork"),
    ),
}
"""The modules in which the names of this package are defined."""

_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "API_VERSION",
    "Accumulator",
    "AccumulatorOverflow",
    "Action",
    "Availability",
    "BackendError",
    "Corrections",
    "Cost",
    "Counts",
    "GemmBackend",
    "GemmSpec",
    "HighDigits",
    "InputError",
    "Operand",
    "Outcome",
    "OverflowReport",
    "PerOperand",
    "Prepared",
    "PreparedOperand",
    "Request",
    "Rounding",
    "Route",
    "SparseDigits",
    "Support",
    "Tile",
    "UnpackWork",
    "backend_class",
    "list_backends",
    "load_backend",
    "register",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is used for the first time."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """Return the names that users call, those that are not imported yet included."""
    return sorted({*globals(), *__all__})
