"""The expected product, computed independently of the route that is judged, and the comparison."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from accelsim.arithmetic.oracle import Verdict, compare, oracle
from accelsim.routes.dequantizing import combined
from accelsim.routes.nearest import count_not_nearest
from accelsim.routes.rounding import rounded
from accelsim.types import PerOperand, Request, Wide


@dataclass(frozen=True)
class Expected:
    """The right product of two operands.

    Parameters
    ----------
    integers : Tensor or ndarray of object
        ``[batch, n, h]``.
    scales : PerOperand of Tensor
        float32: scalars, or ``[..., rows, 1]`` by rows.
    exponents : PerOperand of int
        The powers of two by which the operands were multiplied in addition to their scales.
    """

    integers: Tensor | Wide
    scales: PerOperand[Tensor]
    exponents: PerOperand[int]

    def integers_like(self, product: Tensor) -> Tensor | Wide:
        """Return the integers in the shape of a product, which may have no batch dimension.

        Parameters
        ----------
        product : Tensor
            A product of the route that is judged.
        """
        return self.integers.reshape(tuple(product.shape))


def expected(request: Request, a: Tensor, b: Tensor) -> Expected:
    """Round the float operands as they are now, and multiply them without digits or backends.

    Parameters
    ----------
    request : Request
        What the route was asked for.
    a, b : Tensor
        The operands of the run.

    Returns
    -------
    Expected
        The right integers and scales.

    Raises
    ------
    DataError
        If an operand cannot be rounded.
    """
    operands = PerOperand(rounded(request, "a", a), rounded(request, "b", b))
    product = oracle(operands.a.values, operands.b.values)
    return Expected(
        batched(product),
        operands.map(lambda operand: operand.scale),
        operands.map(lambda operand: operand.scale_exponent),
    )


def judge(integers: Tensor | Wide, right: Expected) -> Verdict:
    """Compare every integer of a product ``[..., n, h]`` with the right one.

    Parameters
    ----------
    integers : Tensor or Wide
        What the route gave.
    right : Expected
        What is expected.

    Returns
    -------
    Verdict
        How many integers differ, by how much at most, and the first that does.
    """
    return compare(batched(integers), right.integers)


def wrong_floats(floats: Tensor, right: Expected) -> int:
    """Count the floats that are not the exact product over the scales, rounded once.

    Parameters
    ----------
    floats : Tensor
        The dequantized product.
    right : Expected
        What is expected.

    Returns
    -------
    int
        The number of floats that differ.
    """
    scale = combined(right.scales, right.exponents)
    return count_not_nearest(floats, right.integers_like(floats), scale)


def batched(product: Tensor | Wide) -> Tensor | Wide:
    """Return a product with a batch dimension, of 1 if it has none."""
    return product if product.ndim == 3 else product[None]
