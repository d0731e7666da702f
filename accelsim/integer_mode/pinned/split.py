"""Products whose K is cut over several processes, with the bits of a single one.

Each process rounds its part of K with the scale of the whole row, multiplies, and the partial sums
are added as integers. They are dequantized once, when the sum is whole: dequantized parts would
round once each, and their sum would depend on the cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from accelsim.arithmetic.dequantize import dequantize
from accelsim.arithmetic.exactly import times_power
from accelsim.arithmetic.magnitudes import rank
from accelsim.arithmetic.rounding import check_type
from accelsim.arithmetic.scales import ideal_scales, in_float32
from accelsim.errors import DataError, InputError, UnsupportedError
from accelsim.integer_mode.pinned.attention import as_they_are
from accelsim.types import (
    Counts,
    PerOperand,
    PreparedOperand,
    Request,
    Rounding,
    Route,
    Side,
    Timer,
)

INT32, INT64 = 2**31, 2**63


class PartOperand(PreparedOperand):
    """The part of an operand that one process has, as integers in float32.

    Parameters
    ----------
    side : {"a", "b"}
        Which operand it is.
    shape : torch.Size
        Of the whole operand.
    integers : Tensor
        ``[..., rows, part of K]``.
    scale : Tensor
        float32 ``[..., rows, 1]``, of the whole rows.
    exponent : int
        The power of two that entries were multiplied by as well.
    largest : int
        The largest magnitude of the integers of all processes.
    """

    def __init__(
        self,
        side: Side,
        shape: torch.Size,
        integers: Tensor,
        scale: Tensor,
        exponent: int,
        largest: int,
    ) -> None:
        super().__init__(side, shape)
        self.integers, self.scale = integers, scale
        self.exponent, self.largest = exponent, largest


class SplitRoute:
    """Multiplies a part of K and adds the partial sums of all processes; see `Route`.

    Every process is given whole operands, and takes its own columns of them.

    Parameters
    ----------
    request : Request
        The task; its operands have one scale for each row.
    opener : callable
        Opens the route of the part.
    group : ProcessGroup
        The processes; all run the same products in the same order.
    """

    def __init__(self, request: Request, opener: Callable[[Request], Route], group: Any) -> None:
        if any(how.granularity != "row" for how in (request.rounding.a, request.rounding.b)):
            raise InputError("K is cut only where operands have one scale for each row")
        self._request, self._opener, self._group = request, opener, group
        depth, count, mine = request.shape[2], dist.get_world_size(group), dist.get_rank(group)
        self._columns = slice(depth * mine // count, depth * (mine + 1) // count)
        self._last: tuple[PerOperand[PartOperand], Tensor] | None = None

    def prepare(self, side: Side, x: Tensor) -> PartOperand:
        """Round this process's columns with the scales of the whole rows."""
        how = self._request.rounding.of(side)
        check_type(x, self._request.names.of(side))
        values = x.detach().to(torch.float32)[..., self._columns].contiguous()
        alphas, peaks = self._magnitudes(values, how, x.shape[-1], self._request.names.of(side))
        scales = in_float32(
            ideal_scales(alphas, peaks, how.beta), peaks, self._request.names.of(side)
        )
        scale = torch.from_numpy(scales.values).to(x.device).reshape(*x.shape[:-1], 1)
        operand = times_power(values, scales.exponent) if scales.exponent else values
        integers = (operand * scale).round_()
        largest = int(
            self._most(integers.abs().amax() if integers.numel() else scale.new_zeros(()))
        )
        return PartOperand(side, x.shape, integers, scale, scales.exponent, largest)

    def _magnitudes(
        self, values: Tensor, how: Rounding, depth: int, name: str
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return α and the largest magnitude of the whole rows, from each part's own largest."""
        rows = values.reshape(-1, values.shape[-1]).abs()
        if not bool(self._most((~rows.isfinite()).any().float()) == 0):
            raise DataError(f"{name}: found NaN or infinity; all entries must be finite")
        wanted = rank(depth, how.percentile)
        mine = rows.topk(min(wanted, rows.shape[-1]), dim=-1).values
        mine = torch.nn.functional.pad(mine, (0, wanted - mine.shape[-1])).contiguous()
        ordered = torch.cat(self._gathered(mine), dim=-1).sort(dim=-1, descending=True).values
        alphas, peaks = ordered[:, wanted - 1].clone(), ordered[:, 0]
        empty = (alphas == 0) & (peaks != 0)
        if bool(empty.any()):
            if how.zero_alpha != "nonzero":
                raise DataError(f"{name}: the scale is undefined: a percentile of it is 0")
            filled = (ordered != 0).sum(dim=-1)
            ranks = [rank(count, how.percentile) for count in filled[empty].tolist()]
            places = torch.tensor(ranks, device=rows.device).unsqueeze(1) - 1
            alphas[empty] = ordered[empty].gather(1, places).squeeze(1)
        return alphas.double().cpu().numpy(), peaks.double().cpu().numpy()

    def run(self, a: Tensor | PreparedOperand, b: Tensor | PreparedOperand, timer: Timer) -> Tensor:
        """Compute the product in the stages of the part's route, ``pack`` and ``dequantize``."""
        with timer.stage("quantize"):
            parts = PerOperand(self._part("a", a), self._part("b", b))
        partial = self._multiplied(parts, timer)
        with timer.stage("pack"):
            total = self._total(partial, parts)
        self._last = parts, total
        if self._request.output is None:
            return total
        with timer.stage("dequantize"):
            return dequantize(total, self.scales(), self._request.output, self._exponents)

    def _part(self, side: Side, x: Tensor | PreparedOperand) -> PartOperand:
        part = self.prepare(side, x) if isinstance(x, Tensor) else x
        assert isinstance(part, PartOperand), "it was prepared here"
        return part

    def _multiplied(self, parts: PerOperand[PartOperand], timer: Timer) -> Tensor:
        a, b = parts.a.integers, parts.b.integers
        batch, _, _, h = self._request.shape
        request = replace(
            self._request,
            shape=(batch, a.shape[-2], a.shape[-1], h),
            dtype=torch.float32,
            rounding=PerOperand(a, b).map(as_they_are),
            fixed=frozenset(),
            output=None,
        )
        route = self._opener(request)
        found = route.run(a, b, timer)
        route.check()
        if not isinstance(found, Tensor):
            raise UnsupportedError("a part of a product cut over processes does not fit int64")
        return found

    def _total(self, partial: Tensor, parts: PerOperand[PartOperand]) -> Tensor:
        """Add the partial sums, in int32 where every sum of them is proved to fit."""
        bound = self._request.shape[2] * parts.a.largest * parts.b.largest
        if bound >= INT64:
            raise UnsupportedError("the sum of a product cut over processes may not fit int64")
        sums = partial.to(torch.int32 if bound < INT32 else torch.int64)
        dist.all_reduce(sums, group=self._group)
        return sums

    def _gathered(self, mine: Tensor) -> list[Tensor]:
        every = [torch.empty_like(mine) for _ in range(dist.get_world_size(self._group))]
        dist.all_gather(every, mine, group=self._group)
        return every

    def _most(self, value: Tensor) -> Tensor:
        found = value.double().clone()
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self._group)
        return found

    def check(self) -> None:
        """Do nothing: `run` has raised any error of an operand."""

    def integers(self) -> Tensor:
        """Return the integers of the last run, ``[..., n, h]``."""
        return self._done[1].to(torch.int64)

    def scales(self) -> PerOperand[Tensor]:
        """Return the float32 scales of the last run."""
        return self._done[0].map(lambda part: part.scale)

    @property
    def _exponents(self) -> PerOperand[int]:
        return self._done[0].map(lambda part: part.exponent)

    def counts(self) -> Counts:
        """Return the multiplications of the last run, those of all processes."""
        a, b = self._done[0].a, self._done[0].b
        return Counts(
            strategy_chosen="split",
            dense_macs=a.shape.numel() * b.shape[-2],
            low_bit_macs=0,
            products=0,
            entries_a=a.shape.numel(),
            entries_b=b.shape.numel(),
            scale_exponent=self._exponents,
        )

    @property
    def _done(self) -> tuple[PerOperand[PartOperand], Tensor]:
        if self._last is None:
            raise InputError("this route has no last run")
        return self._last


def splitting(opener: Callable[[Request], Route], group: Any) -> Callable[[Request], Route]:
    """Cut K of the products with a weight over the processes of a group; leave all others whole.

    Parameters
    ----------
    opener : callable
        Opens the routes of whole products and of parts.
    group : ProcessGroup
        The processes.
    """

    def open_split(request: Request) -> Route:
        if request.names.b == "weights" and request.shape[2] >= dist.get_world_size(group):
            return SplitRoute(request, opener, group)
        return opener(request)

    return open_split
