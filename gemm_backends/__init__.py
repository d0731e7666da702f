"""Accelerators as pluggable backends that multiply matrices of low-bit integers.

Importing this package imports no backend.
"""

from accelsim.arithmetic.sparse import SparseDigits
from accelsim.errors import InputError
from accelsim.types import Counts, PerOperand, PreparedOperand, Request, Rounding, Route
from gemm_backends.actions import Action, Outcome
from gemm_backends.base import GemmBackend
from gemm_backends.corrections import Corrections, HighDigits
from gemm_backends.declaration import API_VERSION
from gemm_backends.errors import AccumulatorOverflow, BackendError
from gemm_backends.loading import (
    backend_class,
    list_backends,
    load_backend,
    register,
)
from gemm_backends.operands import Prepared
from gemm_backends.types import (
    Accumulator,
    Availability,
    Cost,
    GemmSpec,
    Operand,
    OverflowReport,
    Support,
    Tile,
    UnpackWork,
)

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
