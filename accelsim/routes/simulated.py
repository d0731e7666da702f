"""A route without a backend: float products that are proved exact."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from accelsim.arithmetic.dequantize import dequantize
from accelsim.arithmetic.oracle import oracle
from accelsim.arithmetic.precision import float32_is_ieee
from accelsim.arithmetic.rounding import Quantized
from accelsim.errors import InputError
from accelsim.routes.rounding import rounded
from accelsim.types import Counts, PerOperand, PreparedOperand, Request, Side, Timer, Wide
from gemm_backends.operands import check_shapes

FLOAT32_EXACT = 2.0**24
FLOAT64_EXACT = 2.0**53

FEW = 0.25
"""Share of the rows up to which those beyond float32 are multiplied again, in float64."""

SIMULATED = "simulate"
"""The `strategy_chosen` of these routes."""


class RoundedOperand(PreparedOperand):
    """An operand as integers in floating point, with the bounds that prove its products exact.

    Parameters
    ----------
    side : {"a", "b"}
        Which operand it is.
    shape : torch.Size
        Of the float operand.
    quantized : Quantized
        The operand, rounded.
    norms : Tensor, optional
        Its `norms`, where they are known.
    """

    def __init__(
        self, side: Side, shape: torch.Size, quantized: Quantized, norms: Tensor | None = None
    ) -> None:
        super().__init__(side, shape)
        self.quantized = quantized
        if norms is not None:
            self.norms = norms

    @cached_property
    def integers(self) -> Tensor:
        """The integers in float32."""
        return self.quantized.rounded

    @cached_property
    def norms(self) -> Tensor:
        """An upper bound of the Euclidean norm of every row, float32 ``[..., rows]``."""
        rows = self.integers
        # A float32 sum of d squares and its root are off by less than (d + 2) units of 2^-23.
        norms: Tensor = torch.linalg.vector_norm(rows, dim=-1)
        return norms * (1 + (rows.shape[-1] + 2) * 2.0**-23)


@dataclass(frozen=True)
class _Run:
    operands: PerOperand[RoundedOperand]
    product: Tensor | Wide

    @property
    def scale_exponents(self) -> PerOperand[int]:
        """The powers of two by which the operands were multiplied in addition to their scales."""
        return self.operands.map(lambda operand: operand.quantized.scale_exponent)


class SimulatedRoute:
    """Multiplies the same integers in a floating-point type that holds every sum exactly.

    It takes no digits, so that its counts have no low-bit products. See `accelsim.types.Route`.

    Parameters
    ----------
    request : Request
        What is asked for; its digits do not matter.

    Notes
    -----
    Every partial sum of a row of A times a row of B is at most the product of their norms (Cauchy
    and Schwarz), in whatever order it is summed. Below 2^24 float32 holds it exactly, below 2^53
    float64; beyond that, the product is computed from exact halves.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._last: _Run | None = None

    def prepare(self, side: Side, x: Tensor) -> RoundedOperand:
        """Round an operand and bound its rows."""
        operand = RoundedOperand(side, x.shape, rounded(self._request, side, x))
        if operand.integers.numel():
            operand.norms  # noqa: B018
        return operand

    def restore(
        self, side: Side, quantized: Quantized, norms: Tensor | None = None
    ) -> RoundedOperand:
        """Take an operand that was rounded earlier.

        Parameters
        ----------
        side : {"a", "b"}
            Which operand it is.
        quantized : Quantized
            The operand.
        norms : Tensor, optional
            The `norms` of what was returned before, where they are known.

        Returns
        -------
        RoundedOperand
            The operand as `run` takes it.
        """
        return RoundedOperand(side, quantized.operand.shape, quantized, norms)

    def run(
        self, a: Tensor | PreparedOperand, b: Tensor | PreparedOperand, timer: Timer
    ) -> Tensor | Wide:
        """Compute the product of two operands in the stages ``quantize`` and ``gemm``.

        With an output type there is the stage ``dequantize`` as well.

        Raises
        ------
        DataError
            If an operand cannot be rounded.
        """
        check_shapes(a.shape, b.shape)
        with timer.stage("quantize"):
            operands = PerOperand(self._rounded("a", a), self._rounded("b", b))
        with timer.stage("gemm"):
            product = _multiply(operands.a, operands.b)
        self._last = _Run(operands, product)
        if self._request.output is None:
            return self.integers()
        with timer.stage("dequantize"):
            return dequantize(
                product, self.scales(), self._request.output, self._done.scale_exponents
            )

    def _rounded(self, side: Side, x: Tensor | PreparedOperand) -> RoundedOperand:
        if isinstance(x, Tensor):
            return RoundedOperand(side, x.shape, rounded(self._request, side, x))
        if not isinstance(x, RoundedOperand):
            raise InputError(f"{self._request.names.of(side)}: was prepared for another route")
        return x

    def check(self) -> None:
        """Do nothing: `run` has raised any error of an operand."""

    def integers(self) -> Tensor | Wide:
        """Return the integers of the last run, ``[..., n, h]``."""
        product = self._done.product
        return product.to(torch.int64) if isinstance(product, Tensor) else product

    def scales(self) -> PerOperand[Tensor]:
        """Return the float32 scales of the last run."""
        return self._done.operands.map(lambda operand: operand.quantized.divisor)

    def counts(self) -> Counts:
        """Return the multiplications of the last run; there are no low-bit ones."""
        a, b = self._done.operands.a, self._done.operands.b
        return Counts(
            strategy_chosen=SIMULATED,
            dense_macs=a.shape.numel() * b.shape[-2],
            low_bit_macs=0,
            products=0,
            entries_a=a.shape.numel(),
            entries_b=b.shape.numel(),
            scale_exponent=self._done.scale_exponents,
        )

    def forget(self) -> None:
        """Release the last run, whose operands and product are kept for the verdict."""
        self._last = None

    @property
    def _done(self) -> _Run:
        if self._last is None:
            raise InputError("this route has no last run: nothing was run, or it was forgotten")
        return self._last


def _multiply(a: RoundedOperand, b: RoundedOperand) -> Tensor | Wide:
    """Return the integers in the shortest type that is exact for all of them."""
    if a.integers.numel() == 0 or b.integers.numel() == 0:
        return a.integers @ b.integers.mT
    bound_a, bound_b = a.norms, b.norms
    if float(bound_a.max()) * float(bound_b.max()) >= FLOAT64_EXACT:
        return oracle(a.quantized.values, b.quantized.values)
    if not float32_is_ieee(a.integers.device):
        return a.integers.double() @ b.integers.double().mT
    beyond_a = bound_a * float(bound_b.max()) >= FLOAT32_EXACT
    if not bool(beyond_a.any()):
        return a.integers @ b.integers.mT
    beyond_b = bound_b * float(bound_a.max()) >= FLOAT32_EXACT
    if float(beyond_a.double().mean()) <= FEW:
        return _in_parts(a.integers, b.integers, beyond_a)
    if float(beyond_b.double().mean()) <= FEW:
        return _in_parts(b.integers, a.integers, beyond_b).mT
    return a.integers.double() @ b.integers.double().mT


def _in_parts(a: Tensor, b: Tensor, beyond: Tensor) -> Tensor:
    """Multiply in float32, and once more in float64 the rows of A that are `beyond` it."""
    result = (a @ b.mT).double()
    if a.ndim == 2:
        result[beyond] = a[beyond].double() @ b.double().mT
        return result
    for head in beyond.any(dim=-1).nonzero().flatten().tolist():
        rows = beyond[head]
        result[head, rows] = a[head, rows].double() @ b[head].double().mT
    return result
