"""An operand that the general route prepared ahead of its runs."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.types import PreparedOperand, Route, Side
from accelsim.unpack import IntegerOperand
from gemm_backends import GemmBackend
from gemm_backends.operands import Prepared


class UnpackedOperand(PreparedOperand):
    """A rounded operand with the digits that runs have in common, as a backend takes them.

    Parameters
    ----------
    side : {"a", "b"}
        Which operand it is.
    shape : torch.Size
        Of the float operand.
    integers : IntegerOperand
        The operand, rounded, on its way into digits; it keeps those of whole matrices.
    route : Route
        What it was prepared for; no other takes it.
    backend : GemmBackend
        What the digits are laid out for.
    """

    def __init__(
        self,
        side: Side,
        shape: torch.Size,
        integers: IntegerOperand,
        route: Route,
        backend: GemmBackend,
    ) -> None:
        super().__init__(side, shape)
        self.integers, self.route = integers, route
        self._backend = backend
        self._laid_out: dict[int, tuple[Tensor, Prepared]] = {}

    def lay_out(self, digits: Tensor, head: int) -> tuple[Prepared, bool]:
        """Return digits of this operand as the backend takes them, and if they already were so.

        Parameters
        ----------
        digits : Tensor
            Digits that a strategy wrote: those that the operand keeps, or others.
        head : int
            The matrix of the batch that they are of.
        """
        if digits is not self.integers.kept(head):
            return self._backend.prepared(digits), False
        known = self._laid_out.get(head)
        if known is not None and known[0] is digits:
            return known[1], True
        ready = self._backend.prepared(digits)
        self._laid_out[head] = digits, ready
        return ready, False
