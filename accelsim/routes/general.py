"""The general route: round, unpack by a strategy, multiply on a backend, pack, dequantize."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from accelsim.arithmetic.bounds import fits_int64
from accelsim.arithmetic.dequantize import dequantize
from accelsim.arithmetic.rounding import Quantized
from accelsim.errors import InputError, UnsupportedError
from accelsim.routes.cost import modelled
from accelsim.routes.execute import execute, executed_macs, schedule
from accelsim.routes.operand import UnpackedOperand
from accelsim.routes.rounding import begin_rounding, rounded
from accelsim.routes.sketched import Scaling
from accelsim.types import SIDES, Counts, PerOperand, PreparedOperand, Request, Side, Timer, Wide
from accelsim.unpack import IntegerOperand, LowBitProblem, Product, Strategy
from gemm_backends import GemmBackend
from gemm_backends.operands import Prepared, check_shapes


@dataclass(frozen=True)
class _Run:
    """The state of a run.

    Parameters
    ----------
    operands : PerOperand of Quantized
        The operands, rounded.
    problem, scheduled : LowBitProblem
        What the strategy made of them, and the same with K cut where an accumulator needs it.
    integers : Tensor or ndarray of object
        The product, ``[..., n, h]``.
    overflows : int
        Steps at which the backend reported an overflow.
    prepared : tuple of {"a", "b"}
        Operands that were rounded, written in digits and laid out beforehand.
    """

    operands: PerOperand[Quantized]
    problem: LowBitProblem
    scheduled: LowBitProblem
    integers: Tensor | Wide
    overflows: int
    prepared: tuple[Side, ...]

    @property
    def scale_exponents(self) -> PerOperand[int]:
        """The powers of two by which the operands were multiplied in addition to their scales."""
        return self.operands.map(lambda operand: operand.scale_exponent)


class Unpacked(NamedTuple):
    """Two operands, rounded, and the problem that a strategy made of them."""

    operands: PerOperand[IntegerOperand]
    problem: LowBitProblem


class GeneralRoute:
    """Any strategy on any backend; see `accelsim.types.Route`.

    The stages of a run are ``quantize``, ``unpack``, ``prepare``, ``gemm``, ``pack`` and, with an
    output type, ``dequantize``.

    Parameters
    ----------
    request : Request
        The task of the route.
    strategy : Strategy
        How operands are unpacked.
    backend : GemmBackend
        What multiplies the low-bit products.
    watch_overflow : bool
        Ask the backend at how many steps its accumulator overflowed.
    """

    def __init__(
        self,
        request: Request,
        strategy: Strategy,
        backend: GemmBackend,
        watch_overflow: bool = False,
    ) -> None:
        self._request, self._strategy, self._backend = request, strategy, backend
        self._watch_overflow = watch_overflow
        self._last: _Run | None = None

    def prepare(self, side: Side, x: Tensor) -> UnpackedOperand:
        """Round an operand, write it in digits, and lay these out for the backend.

        The digits are those that the strategy asks for where the other operand fits one digit
        everywhere. Runs in which it asks for others write them then; `counts` tells.
        """
        return self.restore(side, rounded(self._request, side, x))

    def restore(self, side: Side, quantized: Quantized) -> UnpackedOperand:
        """Do what `prepare` does with an operand that was rounded earlier.

        Parameters
        ----------
        side : {"a", "b"}
            Which operand it is.
        quantized : Quantized
            The operand.

        Returns
        -------
        UnpackedOperand
            The operand as `run` takes it.
        """
        integers = IntegerOperand(quantized, self._request.digits.of(side), prepared=True)
        operand = UnpackedOperand(side, quantized.operand.shape, integers, self, self._backend)
        problem = self._ahead(side, integers)
        try:
            # Digits that it refuses are not shown to the backend; a run says why.
            schedule(problem, self._backend, self._request.digits, self._request.k_split)
        except UnsupportedError:
            return operand
        for product in problem.products:
            digits = product.a if side == "a" else product.b
            if not product.is_sparse and digits is integers.kept(product.head):
                operand.lay_out(digits, product.head)
        return operand

    def _ahead(self, side: Side, integers: IntegerOperand) -> LowBitProblem:
        """Unpack an operand where the other one fits one digit everywhere; it keeps its digits."""
        other: Side = "b" if side == "a" else "a"
        pair = {side: integers, other: self._stand_in(other, integers)}
        return self._strategy.unpack(pair["a"], pair["b"])

    def _stand_in(self, side: Side, operand: IntegerOperand) -> IntegerOperand:
        """Return an operand of zeros that another can be unpacked beside."""
        batch, rows, d = operand.shape
        _, n, _, h = self._request.shape
        count = (n if side == "a" else h) or rows
        zeros = torch.zeros((), dtype=torch.int32, device=operand.device).expand(batch, count, d)
        return IntegerOperand(zeros, self._request.digits.of(side))

    def run(
        self, a: Tensor | PreparedOperand, b: Tensor | PreparedOperand, timer: Timer
    ) -> Tensor | Wide:
        """Compute the product of two operands.

        Raises
        ------
        DataError
            If an operand cannot be rounded.
        UnsupportedError
            If the backend refuses a product.
        AccumulatorOverflow
            If the accumulator overflowed and its overflow is ``"error"``.
        """
        check_shapes(a.shape, b.shape)
        request, backend = self._request, self._backend
        ahead = PerOperand(self._own("a", a), self._own("b", b))
        with timer.stage("quantize"):
            begun = PerOperand(self._begin("a", a), self._begin("b", b))
            pair = PerOperand(begun.a(), begun.b())
        operands = pair.map(_quantized)
        with timer.stage("unpack"):
            problem = self._strategy.unpack(pair.a, pair.b)
            scheduled = schedule(problem, backend, request.digits, request.k_split)
        busy: set[Side] = set()

        def lay_out(side: Side, digits: Tensor, head: int) -> Prepared:
            operand = ahead.of(side)
            if operand is None:
                return backend.prepared(digits)
            ready, was_ready = operand.lay_out(digits, head)
            if not was_ready:
                busy.add(side)
            return ready

        done = execute(
            scheduled,
            backend,
            timer,
            watch_overflow=self._watch_overflow or request.k_split == "never",
            wide=not fits_int64(pair.a.shape[2], operands.a.largest, operands.b.largest),
            layout=lay_out,
        )
        integers = done.result.reshape((*a.shape[:-1], b.shape[-2]))
        prepared = tuple(s for s in SIDES if ahead.of(s) is not None and s not in busy)
        self._last = _Run(operands, problem, scheduled, integers, done.overflows, prepared)
        if request.output is None:
            return integers
        with timer.stage("dequantize"):
            return dequantize(integers, self.scales(), request.output, self._done.scale_exponents)

    def _own(self, side: Side, x: Tensor | PreparedOperand) -> UnpackedOperand | None:
        """Return an operand that was prepared ahead, or None for a tensor."""
        if isinstance(x, Tensor):
            return None
        if not isinstance(x, UnpackedOperand) or x.route is not self or x.side != side:
            name = self._request.names.of(side)
            raise InputError(f"{name}: was prepared for another route, or as the other operand")
        return x

    def _begin(self, side: Side, x: Tensor | PreparedOperand) -> Callable[[], IntegerOperand]:
        """Begin to round one operand; what is returned finishes it."""
        if isinstance(x, UnpackedOperand):
            known = x.integers
            return lambda: known
        assert isinstance(x, Tensor), "others were refused"
        begun = begin_rounding(self._request, side, x)
        return IntegerOperand.begin(begun, self._request.digits.of(side))

    def check(self) -> None:
        """Do nothing: `run` has raised any error of an operand."""

    def integers(self) -> Tensor | Wide:
        """Return the integers of the last run, ``[..., n, h]``."""
        return self._done.integers

    def scales(self) -> PerOperand[Tensor]:
        """Return the float32 scales of the last run."""
        return self._done.operands.map(lambda operand: operand.divisor)

    def counts(self) -> Counts:
        """Return the operation counts of the last run."""
        run = self._done
        return self._counted(run.operands, run.problem, run.scheduled, run.prepared, run.overflows)

    def rounded(self, a: Tensor, b: Tensor) -> PerOperand[Quantized]:
        """Round two operands, for `unpacked`.

        Parameters
        ----------
        a, b : Tensor
            Operands ``[..., n, d]`` and ``[..., h, d]``.

        Returns
        -------
        PerOperand of Quantized
            The integers of both, with their scales.

        Raises
        ------
        DataError
            If an operand cannot be rounded.
        """
        check_shapes(a.shape, b.shape)
        return PerOperand(rounded(self._request, "a", a), rounded(self._request, "b", b))

    def unpacked(self, operands: PerOperand[Quantized]) -> Unpacked:
        """Unpack two operands, for `count`; nothing is multiplied.

        Parameters
        ----------
        operands : PerOperand of Quantized
            What `rounded` returned, of a route that rounds in the same way.

        Returns
        -------
        Unpacked
            The operands, and the products that the strategy makes of them.
        """
        pair = PerOperand(self._to_count("a", operands.a), self._to_count("b", operands.b))
        return Unpacked(pair, self._strategy.unpack(pair.a, pair.b))

    def count(self, unpacked: Unpacked, whole: tuple[int, int, int, int] | None = None) -> Counts:
        """Return the operation counts of a run.

        Parameters
        ----------
        unpacked : Unpacked
            What `unpacked` returned, of a route that differs from this one in its backend alone.
        whole : tuple of int, optional
            ``(batch, n, d, h)`` of the GEMM that the operands are a sample of.

        Raises
        ------
        UnsupportedError
            If the backend refuses a product, or a sample's product is sparse.
        """
        request, (pair, problem) = self._request, unpacked
        scheduled = schedule(problem, self._backend, request.digits, request.k_split)
        ready = tuple(
            side
            for side in SIDES
            if side in request.fixed
            and all(getattr(p, side) is pair.of(side).kept(p.head) for p in scheduled.products)
        )
        if whole is not None:
            scaling = Scaling(problem.shape, whole)
            problem, scheduled = scaling.problem(problem), scaling.problem(scheduled)
        return self._counted(pair.map(_quantized), problem, scheduled, ready, 0)

    def _to_count(self, side: Side, x: Quantized) -> IntegerOperand:
        """Write the digits of an operand that is fixed ahead, as `prepare` does."""
        digits, fixed = self._request.digits.of(side), side in self._request.fixed
        integers = IntegerOperand(x, digits, prepared=fixed)
        if fixed:
            self._ahead(side, integers)
        return integers

    def _counted(
        self,
        operands: PerOperand[Quantized],
        problem: LowBitProblem,
        scheduled: LowBitProblem,
        prepared: tuple[Side, ...],
        overflows: int,
    ) -> Counts:
        systems = self._request.digits
        batch, n, d, h = problem.shape
        return Counts(
            strategy_chosen=problem.strategy_chosen,
            dense_macs=problem.dense_macs,
            low_bit_macs=scheduled.low_bit_macs,
            sparse_macs=scheduled.sparse_macs,
            executed_macs=executed_macs(scheduled, self._backend, systems),
            shift_adds=scheduled.shift_adds,
            gather_bytes=scheduled.gather_bytes,
            scatter_bytes=scheduled.scatter_bytes,
            gemm_bytes=sum(map(_bytes, scheduled.products)),
            products=len(scheduled.products),
            k_pieces=scheduled.k_pieces,
            max_digits_a=problem.max_digits_a,
            max_digits_b=problem.max_digits_b,
            out_of_bound_a=problem.out_of_bound_a,
            out_of_bound_b=problem.out_of_bound_b,
            entries_a=batch * n * d,
            entries_b=batch * h * d,
            prepared=prepared,
            scale_exponent=operands.map(lambda operand: operand.scale_exponent),
            overflows=overflows,
            modelled=modelled(
                self._backend, systems, scheduled, self._request.dtype.itemsize, prepared
            ),
        )

    def forget(self) -> None:
        """Release the last run, whose operands and product are kept for the verdict."""
        self._last = None

    @property
    def _done(self) -> _Run:
        if self._last is None:
            raise InputError("this route has no last run: nothing was run, or it was forgotten")
        return self._last


def _quantized(integers: IntegerOperand) -> Quantized:
    assert isinstance(integers.values, Quantized), "the route has rounded it"
    return integers.values


def _bytes(product: Product) -> int:
    """Return the digits read and the 32-bit sums written, each once, in bytes."""
    return product.a.nbytes + product.b.nbytes + 4 * product.a.shape[0] * product.b.shape[0]
