"""Conversion of operands for a run: their shape and kind, and integers made ahead."""

from __future__ import annotations

import struct
from collections import OrderedDict

import torch
from torch import Tensor

from accelsim.arithmetic.rounding import Quantized, quantize
from accelsim.errors import DataError, InputError
from accelsim.kernels.launches import current_stream, launch_now
from accelsim.kernels.select import TYPES
from accelsim.types import PreparedOperand, Request, Rounding, Side
from gemm_backends.cuda.fused.layout import Layout
from gemm_backends.cuda.fused.operand import Digits
from gemm_backends.cuda.fused.plan import TILE
from gemm_backends.cuda.fused.prepared import FusedOperand
from gemm_backends.cuda.fused.rounder import Rounder
from gemm_backends.cuda.fused.sides import FOUND_WORDS, INT64_KIND, Floats, Source
from gemm_backends.cuda.fused.status import MOST_DIGITS

_FOUND = struct.Struct("fiIIQ")
"""The kernels' ``Found``."""

MOST_LISTED = 128
"""One entry of so many may have a high part for these to be listed: each costs a few digits."""

LISTED_DIGITS = 3
"""Digits of the largest entry whose high part is listed."""

KEPT = 8
"""Shapes whose scales are looked for in buffers that are kept for the next run."""


class Operands:
    """Converts the operands of a request for a run.

    Parameters
    ----------
    request : Request
        Their rounding, and their names in messages.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._rounders: OrderedDict[tuple[object, int], Rounder] = OrderedDict()

    def incoming(
        self, side: Side, x: Tensor | PreparedOperand, stream: int | None
    ) -> Floats | FusedOperand:
        """Return an operand as a run takes it.

        Parameters
        ----------
        side : {"a", "b"}
            Which operand it is.
        x : Tensor or PreparedOperand
            The operand.
        stream : int or None
            The current stream, as CUDA knows it; None while a CUDA graph is captured.

        Raises
        ------
        InputError
            If it does not match the request.
        """
        if isinstance(x, FusedOperand):
            if x.side != side:
                raise InputError(f"an operand that was prepared as {x.side!r} came as {side!r}")
            return x
        name = self._request.names.of(side)
        if not isinstance(x, Tensor):
            raise InputError(f"{name}: found {type(x).__name__}, prepared by another route")
        if x.dtype not in TYPES or x.device.type != "cuda" or x.ndim < 2:
            raise InputError(
                f"{name}: found {x.dtype} {[*x.shape]} on {x.device}; expected float32, float16 or "
                f"bfloat16 [..., rows, d] on a CUDA device"
            )
        if x.ndim == 2 and x.is_contiguous() and not x.requires_grad:
            matrix = x
        else:
            matrix = x.detach().contiguous().reshape(x.shape[:-1].numel(), x.shape[-1])
        return Floats(matrix, self._rounder(side, matrix, stream))

    def prepare(self, side: Side, x: Tensor) -> FusedOperand:
        """Round a fixed operand, and write all digits of its entries.

        Raises
        ------
        DataError
            If it holds NaN or infinity, has no scale, or reaches 2^62.
        """
        capturing = torch.cuda.is_current_stream_capturing()
        floats = self.incoming(side, x, None if capturing else current_stream(x.device))
        if not isinstance(floats, Floats):
            raise InputError(f"{self._request.names.of(side)} is prepared already")
        if capturing:
            raise InputError("operands are prepared before a CUDA graph is captured")
        if not x.numel():
            raise InputError(f"{self._request.names.of(side)} has no entries to prepare")
        rounding = self._request.rounding.of(side)
        rounder = _rounder_for(rounding, floats.x)
        found = torch.zeros(FOUND_WORDS, dtype=torch.int32, device=floats.x.device)
        rounder.run(floats.x, found)
        if int(rounder.nonfinite) or not bool((rounder.scale > 0).all()):
            return self.round_exactly(side, x)
        return self._written(side, x.shape, Floats(floats.x, rounder).source(), rounder)

    def round_exactly(self, side: Side, x: Tensor) -> FusedOperand:
        """Round an operand whose scale the kernels do not find.

        Raises
        ------
        DataError
            If it cannot be rounded.
        """
        request = self._request
        rounding, name = request.rounding.of(side), request.names.of(side)
        quantized = quantize(
            x, rounding.percentile, rounding.beta, rounding.granularity, rounding.zero_alpha, name
        )
        return self.restore(side, quantized)

    def restore(self, side: Side, quantized: Quantized) -> FusedOperand:
        """Write the digits of an operand that is rounded already."""
        shape = quantized.operand.shape
        integers = quantized.values.to(torch.int64).reshape(shape[:-1].numel(), shape[-1])
        return self._written(side, shape, Source(integers, INT64_KIND), quantized)

    def _written(
        self, side: Side, shape: torch.Size, source: Source, scaled: Rounder | Quantized
    ) -> FusedOperand:
        rows, d = shape[-2:]
        heads, device = shape[:-2].numel(), self._request.device
        count = 1
        while True:
            layout = Layout(-(-d // TILE), count)
            digits = Digits(heads, rows, d, layout, device)
            found = torch.zeros(FOUND_WORDS, dtype=torch.int32, device=device)
            launch_now([digits.write_planes(source, count, found)], device)
            needed, beyond = _read(found)
            if needed > MOST_DIGITS:
                raise DataError(self.too_large(side))
            if needed <= count:
                break
            count = needed
        by_row = self._request.rounding.of(side).granularity == "row"
        scale = (scaled.divisor if isinstance(scaled, Quantized) else scaled.scale).reshape(-1)
        exponent = scaled.scale_exponent if isinstance(scaled, Quantized) else 0
        operand = FusedOperand(
            side, shape, digits, count, scale.clone(), by_row, found, beyond, exponent
        )
        if _wants_lists(operand, self._request.rounding.a):
            operand.list_high_parts()
        return operand

    def too_large(self, side: Side) -> str:
        """Raise the error for an integer that is too large."""
        return (
            f"{self._request.names.of(side)}: an entry becomes an integer that is not below 2^62; "
            "choose a smaller beta or a higher percentile"
        )

    def not_finite(self, side: Side, shape: torch.Size, index: int, x: Tensor | None) -> str:
        """Raise the error that names the first entry that is NaN or infinite."""
        place = [int(i) for i in torch.unravel_index(torch.tensor(index, device="cpu"), shape)]
        value = "NaN or infinity" if x is None else x.reshape(-1)[index].item()
        return (
            f"{self._request.names.of(side)}: found {value} at {place}; all entries must be finite"
        )

    def _rounder(self, side: Side, matrix: Tensor, stream: int | None) -> Rounder:
        """Return the one for a shape on a stream or, for a CUDA graph, on any."""
        shape = side, matrix.shape
        if stream is not None:
            known = self._rounders.get((shape, stream))
            if known is not None:
                self._rounders.move_to_end((shape, stream))
                return known
        rounding = self._request.rounding.of(side)
        if not matrix.numel():
            return Rounder(rounding, 1, 1, matrix.device)
        if stream is None:
            found = [rounder for (known, _), rounder in self._rounders.items() if known == shape]
            if found:
                return found[-1]
            return _rounder_for(rounding, matrix)
        rounder = self._rounders[shape, stream] = _rounder_for(rounding, matrix)
        if len(self._rounders) > KEPT:
            self._rounders.popitem(last=False)
        return rounder


def _wants_lists(x: FusedOperand, rows: Rounding) -> bool:
    """Whether few rows may come that take the high parts of an operand from its lists."""
    few = x.beyond * MOST_LISTED <= x.shape.numel() and x.count <= LISTED_DIGITS
    return few and x.side == "b" and x.shape[:-2].numel() == 1 and rows.granularity == "row"


def _rounder_for(rounding: Rounding, matrix: Tensor) -> Rounder:
    rows, d = matrix.shape
    return Rounder(rounding, rows, d, matrix.device)


def _read(found: Tensor) -> tuple[int, int]:
    """Return how many digits the largest entry needs, and how many entries need more than one."""
    _, digits, _, _, beyond = _FOUND.unpack(found.cpu().numpy().tobytes())
    return digits, beyond
