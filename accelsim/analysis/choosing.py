"""The error that rounding makes in a product, known before it is multiplied; β for a tolerance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from accelsim.arithmetic.rounding import quantize
from accelsim.errors import DataError, InputError
from accelsim.types import PerOperand, Rounding
from accelsim.unpack import DigitSystem

MOST_BETA = 1 << 26
"""The largest β that is tried: float32 operands have 24 significant bits."""

_UNIT = 2.0**-52
"""Twice the unit roundoff of float64."""


@dataclass(frozen=True)
class RoundingError:
    """The error of a rounded product, relative to the product, in the Frobenius norm.

    Parameters
    ----------
    estimate : float
        What it is if rounding errors are independent of each other.
    bound : float
        What it cannot exceed.
    """

    estimate: float
    bound: float

    @property
    def factor(self) -> float:
        """How many times the bound is above the estimate."""
        return self.bound / self.estimate if self.estimate else 1.0


@dataclass(frozen=True)
class Choice:
    """A β for a GEMM, and what it gives.

    Parameters
    ----------
    beta : int
        The least found that meets the tolerance.
    bits : int
        The least width of digits in which the percentile's integer, ``beta / 2``, is in bound; only
        heavy hitters are unpacked then.
    error : RoundingError
        Of the product that is rounded so.
    out_of_bound : PerOperand of float
        The share of entries beyond one digit of `bits` bits.
    tolerance : float
        What was asked for.
    guaranteed : bool
        Whether the bound meets the tolerance, and not the estimate alone.
    """

    beta: int
    bits: int
    error: RoundingError
    out_of_bound: PerOperand[float]
    tolerance: float
    guaranteed: bool


class Errors:
    """Errors of the product ``A @ B.T`` under roundings of its operands; nothing is multiplied.

    What does not depend on the rounding, the norm of the product among it, is computed once, from
    one product in float64.

    Parameters
    ----------
    a, b : Tensor
        ``[..., n, d]`` and ``[..., h, d]``, float32, float16 or bfloat16.

    Raises
    ------
    InputError
        If the shapes do not fit.
    DataError
        If an entry is not finite, or the product is zero, so that nothing is relative to it.
    """

    def __init__(self, a: Tensor, b: Tensor) -> None:
        if a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-1]:
            raise InputError(
                f"found shapes {tuple(a.shape)} and {tuple(b.shape)}; expected [..., n, d] and "
                "[..., h, d]"
            )
        self._floats = PerOperand(a, b)
        self._wide = self._floats.map(_matrices)
        if not all(bool(x.isfinite().all()) for x in (self._wide.a, self._wide.b)):
            raise DataError("found NaN or infinity; all entries must be finite")
        wide, d = self._wide, a.shape[-1]
        self._norm = float(torch.linalg.vector_norm(wide.a @ wide.b.mT))
        norms = wide.map(lambda x: float(torch.linalg.vector_norm(x)))
        # The product in float64 is off by at most this (Higham, Accuracy and Stability, 3.5).
        self._least = self._norm - (d + 2) * _UNIT * norms.a * norms.b
        if self._norm == 0:
            raise DataError("the product is zero, and no error is relative to it")
        self._columns = wide.map(_columns)
        self._spectral: PerOperand[Tensor] | None = None

    def of(self, rounding: PerOperand[Rounding]) -> RoundingError:
        """Return the error of the product of rounded operands.

        Parameters
        ----------
        rounding : PerOperand of Rounding
            How they are rounded.

        Raises
        ------
        DataError
            If an operand cannot be rounded so.

        Notes
        -----
        With ``A' = A + δA`` and ``B' = B + δB`` the error is ``δA·B'ᵀ + A·δBᵀ``. If the entries of
        δA and δB are independent with mean zero, its squared norm is the sum over k of
        ``‖δa_k‖²‖b_k‖² + ‖a_k‖²‖δb_k‖² + ‖δa_k‖²‖δb_k‖²`` of the columns k. The bound takes each of
        the two products to be at most the sum of ``‖x_k‖‖y_k‖`` over k, and at most the Frobenius
        norm of the error times the spectral norm of the other operand.
        """
        change = PerOperand(
            _change(self._floats.a, self._wide.a, rounding.a, "A"),
            _change(self._floats.b, self._wide.b, rounding.b, "B"),
        )
        a, b = self._columns.a, self._columns.b
        da, db = change.map(_columns).a, change.map(_columns).b
        estimate = math.sqrt(float((da * b + a * db + da * db).sum())) / self._norm
        bound = self._bound(change, da, db)
        return RoundingError(estimate, bound)

    def _bound(self, change: PerOperand[Tensor], da: Tensor, db: Tensor) -> float:
        if self._least <= 0:
            return math.inf
        if self._spectral is None:
            self._spectral = self._wide.map(_spectral_bound)
        frobenius = change.map(lambda x: torch.linalg.vector_norm(x, dim=(-2, -1)))
        rounded_b = self._wide.b + change.b
        spectral_b = self._spectral.b + frobenius.b
        first = torch.minimum((da * _columns(rounded_b)).sqrt().sum(-1), frobenius.a * spectral_b)
        second = torch.minimum(
            (self._columns.a * db).sqrt().sum(-1), self._spectral.a * frobenius.b
        )
        terms = self._wide.a.shape[-1] + self._wide.a.shape[-2] + self._wide.b.shape[-2]
        slack = 1 + (terms + 8) * _UNIT  # of the sums and roots above, each relative
        return float(torch.linalg.vector_norm(first + second)) * slack / self._least


def rounding_error(a: Tensor, b: Tensor, rounding: PerOperand[Rounding]) -> RoundingError:
    """Return the error of one rounded product; see `Errors`.

    Parameters
    ----------
    a, b : Tensor
        ``[..., n, d]`` and ``[..., h, d]``.
    rounding : PerOperand of Rounding
        How they are rounded.
    """
    return Errors(a, b).of(rounding)


def choose(
    a: Tensor,
    b: Tensor,
    tolerance: float = 1e-3,
    *,
    guaranteed: bool = False,
    percentile: float = 95,
    granularity: str = "tensor",
    zero_alpha: str = "nonzero",
) -> Choice:
    """Find the least β at which the product of two rounded operands is within a tolerance.

    Parameters
    ----------
    a, b : Tensor
        The operands of ``C = A @ B.T``: ``[..., n, d]`` and ``[..., h, d]``, float32, float16 or
        bfloat16.
    tolerance : float
        Of the Frobenius norm of the product's error, relative to that of the product.
    guaranteed : bool
        Whether a proven bound has to be within the tolerance, which is 4 to 25 times the error;
        by default it is an estimate.
    percentile, granularity, zero_alpha
        See `accelsim.integer_gemms`; both operands are rounded alike.

    Returns
    -------
    Choice
        β, the width of digits, and the error with its bound.

    Raises
    ------
    InputError
        If the tolerance is not a number above 0, or no β reaches it; the message has the nearest.
    DataError
        If an entry is not finite, or the product is zero.

    Examples
    --------
    >>> import accelsim
    >>> import torch
    >>> a, b = torch.randn(64, 256), torch.randn(32, 256)
    >>> choice = accelsim.choose(a, b, tolerance=1e-2)
    >>> choice.error.estimate <= 1e-2 < choice.error.bound
    True
    """

    def how(beta: float) -> PerOperand[Rounding]:
        return PerOperand.both(Rounding(percentile, beta, granularity, zero_alpha))

    beta, error = least_beta(a, b, tolerance, how, guaranteed)
    bits = _bits(beta)
    system, rounding = DigitSystem("balanced", bits), how(beta).a
    shares = PerOperand(a, b).map(lambda x: _outside(x, rounding, system))
    return Choice(beta, bits, error, shares, tolerance, guaranteed)


def least_beta(
    a: Tensor,
    b: Tensor,
    tolerance: float,
    how: Callable[[float], PerOperand[Rounding]],
    guaranteed: bool = False,
) -> tuple[int, RoundingError]:
    """Return the least β that meets a tolerance, and the error there; see `choose`.

    Parameters
    ----------
    a, b : Tensor
        The operands.
    tolerance : float
        Of the product's error, relative to the product.
    how : callable
        Returns the rounding of both operands by a β.
    guaranteed : bool
        Whether the bound has to meet the tolerance.

    Raises
    ------
    InputError
        If the tolerance is not a number above 0, or no β reaches it.
    DataError
        If an entry is not finite, or the product is zero.
    """
    if not (tolerance > 0 and math.isfinite(tolerance)):
        raise InputError(f"tolerance: found {tolerance}; expected a number above 0")
    errors = Errors(a, b)
    known: dict[int, RoundingError | DataError] = {}

    def error(beta: int) -> float:
        if beta not in known:
            try:
                known[beta] = errors.of(how(beta))
            except DataError as why:
                known[beta] = why
        found = known[beta]
        if isinstance(found, DataError):
            return math.inf
        return found.bound if guaranteed else found.estimate

    beta = _least(error, tolerance)
    found = None if beta is None else known[beta]
    if beta is not None and isinstance(found, RoundingError):
        return beta, found
    best = min(known, key=error)
    why = known[best]
    if isinstance(why, DataError):
        raise why
    kind = "a bound" if guaranteed else "an error"
    raise InputError(
        f"tolerance: no β gives {kind} of at most {tolerance:g}; the nearest is "
        f"{error(best):.3g} at β = {best}"
    )


def _least(error: Callable[[int], float], tolerance: float) -> int | None:
    """Return a β whose error is within the tolerance while that of β - 1 is not, if there is one.

    The error falls about as 1 / β; the first guess is made from that.
    """
    low, high = 0, 63
    while error(high) > tolerance:
        if high == MOST_BETA:
            return None
        guess = error(high) / tolerance * high
        low, high = high, min(MOST_BETA, max(2 * high, math.ceil(min(guess, MOST_BETA))))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if error(middle) <= tolerance else (middle, high)
    return high


def _bits(beta: int) -> int:
    """Return the least width whose digits hold half of β; 16 is the widest."""
    widths = range(2, 17)
    return next((b for b in widths if DigitSystem("balanced", b).digits[1] >= beta / 2), 16)


def _outside(x: Tensor, how: Rounding, system: DigitSystem) -> float:
    found = quantize(x, how.percentile, how.beta, how.granularity, how.zero_alpha)
    return float(system.out_of_bound(found.values).double().mean())


def _matrices(x: Tensor) -> Tensor:
    """Return an operand as float64 ``[batch, rows, d]``."""
    return x.detach().double().reshape(-1, *x.shape[-2:])


def _columns(x: Tensor) -> Tensor:
    """Return the squared norms of the columns, ``[batch, d]``."""
    return x.square().sum(-2)


def _change(x: Tensor, wide: Tensor, how: Rounding, name: str) -> Tensor:
    """Return what rounding adds to an operand, in float64."""
    found = quantize(x, how.percentile, how.beta, how.granularity, how.zero_alpha, name)
    scale = found.scale.double() * 2.0**found.scale_exponent
    rounded = found.values.double() / scale
    return rounded.reshape(wide.shape) - wide


def _spectral_bound(x: Tensor) -> Tensor:
    """Return what the spectral norms of matrices ``[batch, rows, d]`` cannot exceed, ``[batch]``.

    The largest eigenvalue of the Gram matrix G is at most the root of the Frobenius norm of G².
    """
    gram = x.mT @ x if x.shape[-1] <= x.shape[-2] else x @ x.mT
    gamma = (max(x.shape) + 2) * _UNIT
    size = torch.linalg.vector_norm(gram, dim=(-2, -1))
    square = torch.linalg.vector_norm(gram @ gram, dim=(-2, -1)) + gamma * size.square()
    whole = torch.linalg.vector_norm(x, dim=(-2, -1)).square()
    bound: Tensor = (square.sqrt() + gamma * whole).sqrt() * (1 + 4 * gamma)
    return bound
