"""The check of a backend that adds the products of single high digits to its sums."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.arithmetic.sparse import SparseDigits
from gemm_backends.conformance.check import CheckFailed, NotApplicable, check
from gemm_backends.conformance.operands import usual_shape
from gemm_backends.conformance.subject import SIDES, Shape, Side, Subject
from gemm_backends.corrections import Corrections, HighDigits

DENSITIES = ((0.0, 0.0), (0.02, 0.0), (0.0, 0.02), (0.1, 0.1), (1.0, 1.0))
"""Shares of the entries of A and of B that have a high digit, at each of two levels."""

LEVELS = 2


@check
def corrected_product(subject: Subject) -> str:
    """High digits of either operand give the same product as operands that hold them."""
    if not subject.backend.corrects_in_place:
        raise NotApplicable("no correction lanes; high digits are products of their own")
    shapes = [usual_shape(subject), (1, 1, 1), (3, 200, 5), (70, 33, 41)]
    taken = [shape for shape in shapes if subject.supports(*shape) and _largest(subject, shape)]
    if not taken:
        raise NotApplicable("supports() refuses all of these shapes")
    for shape in taken:
        for seed, densities in enumerate(DENSITIES):
            _verify(subject, shape, densities, seed)
    return f"{len(taken)} shapes, high digits of up to {DENSITIES[-1][0]:.0%} of the entries"


def _verify(subject: Subject, shape: Shape, densities: tuple[float, float], seed: int) -> None:
    n, d, h = shape
    generator = torch.Generator().manual_seed(seed)
    low, high, whole = [], [], []
    for side, rows, density in zip(SIDES, (n, h), densities, strict=True):
        digits = _digits(subject, side, (rows, d), shape, generator)
        few = _digits(subject, side, (LEVELS * rows, d), shape, generator)
        few *= torch.rand(few.shape, generator=generator, device="cpu") < density
        found = _high(subject, side, few, rows)
        weights = torch.exp2(
            torch.tensor(_exponents(subject, side), dtype=torch.float64, device="cpu")
        ).long()
        low.append(subject.digits(side, digits))
        high.append(found)
        whole.append(digits + (few.reshape(-1, rows, d) * weights[:, None, None]).sum(0))
    corrections = Corrections(*high)
    before = [x.clone() for x in (*low, *(side.digits.values for side in high))]
    product = subject.backend.multiply_corrected(low[0], low[1], corrections)
    where = f"[{n}, {d}] x [{h}, {d}], high digits of {densities[0]:.0%} and {densities[1]:.0%}"
    subject.compare(product, subject.expected(*whole), where)
    after = (*low, *(side.digits.values for side in high))
    if not all(torch.equal(x, y) for x, y in zip(before, after, strict=True)):
        raise CheckFailed(f"{where}: an operand was changed")


def _exponents(subject: Subject, side: Side) -> tuple[int, int]:
    """Return the powers of two of the levels: small ones where a sum must not overflow."""
    if subject.accumulator.overflow != "wrap":
        return 1, 2
    bits = subject.backend.operand_bits[SIDES.index(side)]
    return bits, 2 * bits


def _largest(subject: Subject, shape: Shape) -> int:
    """Return the magnitude of digits for which no sum of a shape leaves an accumulator."""
    limit = subject.harmless_digit(shape[1])
    return limit if subject.accumulator.overflow == "wrap" else limit // 7


def _digits(
    subject: Subject, side: Side, size: tuple[int, int], shape: Shape, generator: torch.Generator
) -> Tensor:
    limit = _largest(subject, shape)
    ends = max(subject.lowest(side), -limit), min(subject.highest(side), limit) + 1
    return torch.randint(*ends, size, generator=generator, device="cpu")


def _high(subject: Subject, side: Side, few: Tensor, rows: int) -> HighDigits:
    """Make a line of every row of both levels that holds any, those of the first level first."""
    lines = few.any(dim=1).nonzero().squeeze(1)
    entry_rows, columns = few[lines].nonzero(as_tuple=True)
    values = subject.digits(side, few[lines][entry_rows, columns])
    sparse = SparseDigits.from_entries(
        entry_rows.to(subject.device),
        columns.to(subject.device),
        values,
        (len(lines), few.shape[1]),
    )
    exponents = torch.tensor(_exponents(subject, side), device="cpu")
    return HighDigits(
        sparse, (lines % rows).to(subject.device), exponents[lines // rows].to(subject.device)
    )


CHECKS = (corrected_product,)
