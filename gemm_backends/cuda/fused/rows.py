"""Rows with a scale each: found, rounded and written in digits in one pass over the floats."""

from __future__ import annotations

import ctypes
from decimal import Decimal

import torch
from torch import Tensor

from accelsim.arithmetic.rounding import rank
from accelsim.kernels.launches import Launch, Pointer
from accelsim.kernels.nvcc import CSRC, CudaSource
from gemm_backends.cuda.fused.operand import ColumnDigits, Digits
from gemm_backends.cuda.fused.plan import TILE
from gemm_backends.cuda.fused.rounder import Rounder
from gemm_backends.cuda.fused.sides import Source

ROUND_ROWS = CudaSource(CSRC / "round_rows.cu")

MOST_PLANES = 2
"""Digits of every entry that the pass writes; it lists what columns of high digits have."""

_MOST_BYTES = 16 * 4 * 1024
"""Four vectors of 16 bytes in each of 1024 threads hold a row."""

_P, _L, _I = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32


class RowArguments(ctypes.Structure):
    """What ``csrc/round_rows.cu`` describes."""

    _fields_ = (
        ("x", _P),
        *((name, _L) for name in ("rows", "d", "rank", "numerator", "denominator")),
        ("beta", ctypes.c_double),
        *((name, _P) for name in ("scales", "nonfinite", "found", "flags", "ratio", "digits")),
        *((name, _L) for name in ("stride", "padded", "head_rows", "stored")),
        *((name, _P) for name in ("slots", "slot_of", "copies", "sources", "entries")),
        *((name, _P) for name in ("list_counts", "column_counts", "chains", "next", "marks")),
        *((name, _I) for name in ("type", "nonzero", "by_row", "planes")),
        *((name, _I) for name in ("groups", "slot_count", "copy_count", "list_length")),
    )


def fits_registers(d: int, dtype: torch.dtype) -> bool:
    """Whether a block of threads can hold a row of `d` floats in its registers."""
    return -(-d // TILE) * TILE * dtype.itemsize <= _MOST_BYTES


class RowPass:
    """Finds the scales of rows ``[rows, d]`` and writes their digits.

    Parameters
    ----------
    rounder : Rounder
        By rows; its scales are written.
    rows, d : int
        The shape, all heads below each other.
    """

    def __init__(self, rounder: Rounder, rows: int, d: int) -> None:
        rounding = rounder.rounding
        share = (100 - Decimal(str(rounding.percentile))) / 100
        numerator, denominator = share.as_integer_ratio()
        self._rounder = rounder
        self._facts = {
            "rows": rows,
            "d": d,
            "rank": rank(d, rounding.percentile),
            "numerator": numerator,
            "denominator": denominator,
            "beta": float(rounding.beta),
            "nonzero": rounding.zero_alpha == "nonzero",
            "scales": rounder.scale.data_ptr(),
            "ratio": rounder.ratio.data_ptr(),
        }

    def planes(
        self,
        x: Source,
        digits: Digits,
        count: int,
        found: Tensor,
        nonfinite: Tensor,
        by_row: bool = False,
    ) -> Launch:
        """Return what writes `count` digits of every entry, two at most.

        Parameters
        ----------
        x : Source
            Where the floats are.
        digits : Digits
            Their destination.
        count : int
            How many levels.
        found, nonfinite : Tensor
            Get what is found in all rows, or `by_row` in each.
        by_row : bool
            Which of the two. Otherwise both must be zeros before.
        """
        arguments = RowArguments(**self._facts, **_destination(digits), planes=count, by_row=by_row)
        return self._launch(arguments, x, digits, found, nonfinite)

    def columns(
        self,
        x: Source,
        digits: ColumnDigits,
        slots: Tensor | None,
        sources: Tensor | None,
        found: Tensor,
        nonfinite: Tensor,
        flags: Tensor,
    ) -> Launch:
        """Return what takes the low digit of every entry, and writes or lists its high part.

        Parameters
        ----------
        x : Source
            Where the floats are.
        digits : ColumnDigits
            Their destination.
        slots : Tensor or None
            ``[d]`` int32: the slots of columns that have one ahead, or -1.
        sources : Tensor or None
            int16: columns whose low digits are copied.
        found, nonfinite, flags : Tensor
            Get what is found, and what does not fit; zeros before.
        """
        layout, matrix = digits.layout, digits.matrix
        arguments = RowArguments(**self._facts, **_destination(digits), planes=1)
        arguments.flags = flags.data_ptr()
        if slots is not None:
            arguments.slots = matrix[:, layout.high * TILE :].data_ptr()
            arguments.slot_of = slots.data_ptr()
            arguments.groups, arguments.slot_count = layout.own.groups, layout.slot_tiles * TILE
        if sources is not None:
            arguments.copies = matrix[:, layout.copies * TILE :].data_ptr()
            arguments.sources, arguments.copy_count = sources.data_ptr(), sources.numel()
        if layout.own.place_tiles or (layout.slot_tiles and slots is None):
            for name, tensor in digits.lists_by_name.items():
                setattr(arguments, name, None if tensor is None else tensor.data_ptr())
            arguments.list_length = layout.own.list_length
        return self._launch(arguments, x, digits, found, nonfinite, flags, slots, sources)

    def _launch(
        self,
        arguments: RowArguments,
        x: Source,
        digits: Digits,
        found: Tensor,
        nonfinite: Tensor,
        *kept: object,
    ) -> Launch:
        arguments.type = x.kind
        arguments.found, arguments.nonfinite = found.data_ptr(), nonfinite.data_ptr()
        assert isinstance(x.x, Pointer), "floats are new in every run"
        x.x.fill(arguments, RowArguments.x.offset)
        launch = Launch(ROUND_ROWS, "accelsim_round_rows", digits.matrix.device, arguments)
        launch.keep(self, digits, found, nonfinite, *kept)
        return launch


def _destination(digits: Digits) -> dict[str, int]:
    return {
        "digits": digits.matrix.data_ptr(),
        "stride": digits.matrix.stride(0),
        "padded": digits.layout.low * TILE,
        "head_rows": digits.rows,
        "stored": digits.stored,
    }
