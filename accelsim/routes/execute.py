"""Run the products of a low-bit problem on a backend, without unnoticed overflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from torch import Tensor

from accelsim.arithmetic.bounds import largest, longest_k
from accelsim.arithmetic.sparse import SparseDigits
from accelsim.errors import UnsupportedError
from accelsim.routes.lanes import corrections_of, proved_in_place
from accelsim.types import PerOperand, Side, Timer, Wide
from accelsim.unpack import DigitSystem, LowBitProblem, Product, pack, pack_wide
from accelsim.unpack.corrected import CorrectedProduct, in_place
from gemm_backends import GemmBackend, GemmSpec, OverflowReport
from gemm_backends.operands import Prepared

POISON = 0x7BADBEEF

Layout: TypeAlias = Callable[[Side, Tensor, int], Prepared]
"""Makes digits of an operand, of one matrix of the batch, ready for a backend."""


@dataclass(frozen=True)
class Execution:
    """The result of running all products once.

    Parameters
    ----------
    result : Tensor or ndarray of object
        C, ``[batch, n, h]``.
    overflows : int
        Steps at which the backend reported an overflow.
    """

    result: Tensor | Wide
    overflows: int


def schedule(
    problem: LowBitProblem,
    backend: GemmBackend,
    systems: PerOperand[DigitSystem],
    k_split: str,
) -> LowBitProblem:
    """Prove that no product overflows the accumulator, cutting K where that needs it.

    Parameters
    ----------
    problem : LowBitProblem
        The products as the strategy made them.
    backend : GemmBackend
        Its accumulator is what must not overflow.
    systems : PerOperand of DigitSystem
        The digits of A and B.
    k_split : {"auto", "never"}
        Whether K is cut; with ``never`` the products are returned as they are.

    Raises
    ------
    UnsupportedError
        If not even one multiplication is sure to fit, or the backend refuses a product.
    """
    products: list[Product] = []
    pieces = 1
    widths = systems.a.bits, systems.b.bits
    for product in _runnable(problem.products, backend):
        parts = [product] if k_split == "never" else _proved(product, backend, systems)
        for part in parts:
            (n, d), h = part.a.shape, part.b.shape[0]
            signed = backend.may_be_negative(part.a), backend.may_be_negative(part.b)
            support = backend.supports(GemmSpec(*widths, n, d, h, *signed))
            if not support:
                raise UnsupportedError(support.reason)
        products += parts
        pieces = max(pieces, len(parts))
    return replace(problem, products=products, k_pieces=pieces)


def spec(systems: PerOperand[DigitSystem], product: Product) -> GemmSpec:
    """Describe a product as backends know it."""
    (n, d), h = product.a.shape, product.b.shape[0]
    return GemmSpec(systems.a.bits, systems.b.bits, n, d, h)


def executed_macs(
    problem: LowBitProblem, backend: GemmBackend, systems: PerOperand[DigitSystem]
) -> int:
    """Return the multiplications of scheduled products, the backend's padding included."""
    return sum(
        product.sparse_macs
        if product.is_sparse
        else product.sparse_macs + backend.executed_macs(spec(systems, product))
        for product in problem.products
    )


def _runnable(products: Sequence[Product], backend: GemmBackend) -> Sequence[Product]:
    """Write sparse products as the backend takes them: in place, as they are, or as dense ones."""
    if backend.corrects_in_place:
        joined = in_place(products)
        if joined is not None:
            return joined
    if backend.has_sparse_product:
        return products
    return [
        part
        for product in products
        for part in (product.column_by_column() if product.is_sparse else [product])
    ]


def _proved(
    product: Product, backend: GemmBackend, systems: PerOperand[DigitSystem]
) -> Sequence[Product]:
    if isinstance(product, CorrectedProduct):
        return proved_in_place(product, backend.accumulator)
    d = product.longest_sum
    bits = backend.accumulator.bits
    k = longest_k(bits, systems.a.largest, systems.b.largest)
    if k is None or d <= k:
        return [product]
    k = longest_k(bits, *map(_largest, (product.a, product.b)))
    if k is None or d <= k:
        return [product]
    if k == 0:
        raise UnsupportedError(
            f"one product of {systems.a.bits}-bit by {systems.b.bits}-bit digits may overflow the "
            f"{bits}-bit accumulator, so splitting K cannot help"
        )
    return product.slices(k)


def execute(
    problem: LowBitProblem,
    backend: GemmBackend,
    timer: Timer,
    watch_overflow: bool,
    wide: bool,
    layout: Layout | None = None,
) -> Execution:
    """Prepare, multiply and pack, timing each stage.

    Parameters
    ----------
    problem : LowBitProblem
        The scheduled products.
    backend : GemmBackend
        What multiplies.
    timer : Timer
        Times the stages.
    watch_overflow : bool
        Ask the backend for its overflow report.
    wide : bool
        Pack in Python integers because C may not fit int64.
    layout : callable or None
        What makes digits ready for the backend; by default its own `prepared`.

    Raises
    ------
    AccumulatorOverflow
        If the accumulator overflowed and its overflow is ``"error"``.
    """
    with timer.stage("prepare"):
        ready = layout or (lambda side, digits, head: backend.prepared(digits))
        operands = [_laid_out(product, ready) for product in problem.products]
    overflows = 0
    with timer.stage("gemm"):
        reports = [
            _multiplied(backend, product, a, b, watch_overflow)
            for product, (a, b) in zip(problem.products, operands, strict=True)
        ]
        results = [result for result, _ in reports]
        overflows = sum(report.count or 0 for _, report in reports)
    with timer.stage("pack"):
        result = pack_wide(problem, results) if wide else pack(problem, results)
    _poison(results)
    return Execution(result, overflows)


def _multiplied(
    backend: GemmBackend, product: Product, a: Any, b: Any, watch_overflow: bool
) -> tuple[Tensor, OverflowReport]:
    if isinstance(product, CorrectedProduct):
        return backend.multiply_corrected(a, b, corrections_of(product)), OverflowReport(None)
    if product.is_sparse:
        return backend.multiply_sparse(a, b), OverflowReport(None)
    if watch_overflow:
        return backend.multiply_report(a, b)
    return backend.multiply(a, b), OverflowReport(None)


def _poison(results: Sequence[Tensor]) -> None:
    """Overwrite a GPU's memory: the next run of the same products gets it to write to.

    PyTorch reuses freed memory without clearing it, so a backend that leaves entries unwritten
    would otherwise find the right ones there.
    """
    for result in results:
        if result.is_cuda:
            result.fill_(POISON)


def _laid_out(product: Product, layout: Layout) -> tuple[Any, Any]:
    a, b = product.a, product.b
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return layout("a", a, product.head), layout("b", b, product.head)
    return a, b


def _largest(digits: Tensor | SparseDigits) -> int:
    return largest(digits.values if isinstance(digits, SparseDigits) else digits)
