"""The check of a backend's product of sparse digits, where it has one."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.arithmetic.sparse import SparseDigits
from gemm_backends.conformance.check import CheckFailed, NotApplicable, check
from gemm_backends.conformance.operands import usual_shape
from gemm_backends.conformance.subject import Subject

DENSITIES = (0.0, 0.02, 0.3, 1.0)


@check
def sparse_product(subject: Subject) -> str:
    """Sparse digits give the same product as when they are written out, on either side."""
    if not subject.backend.has_sparse_product:
        raise NotApplicable("no sparse product; such digits are written out")
    n, d, h = usual_shape(subject)
    shapes = [shape for shape in ((n, d, h), (1, 1, 1), (3, 200, 5)) if subject.supports(*shape)]
    for shape in shapes:
        for seed, density in enumerate(DENSITIES):
            _verify(subject, *subject.random(*shape, seed=seed), density)
    return f"{len(shapes)} shapes, {', '.join(f'{density:.0%}' for density in DENSITIES)} of digits"


def _verify(subject: Subject, a: Tensor, b: Tensor, density: float) -> None:
    generator = torch.Generator().manual_seed(int(density * 100))
    few_a, few_b = (
        x * (torch.rand(x.shape, generator=generator, device="cpu") < density).to(x.device)
        for x in (a, b)
    )
    sparse_a, sparse_b = _sparse(few_a), _sparse(few_b)
    cases = (
        ("sparse A, dense B", sparse_a, b, few_a, b),
        ("dense A, sparse B", a, sparse_b, a, few_b),
        ("sparse A, sparse B", sparse_a, sparse_b, few_a, few_b),
    )
    for what, x, y, dense_x, dense_y in cases:
        before = [_values(operand).clone() for operand in (x, y)]
        product = subject.backend.multiply_sparse(x, y)
        shape = f"[{len(a)}, {a.shape[1]}] x [{len(b)}, {a.shape[1]}]"
        where = f"{shape}, {what}, {density:.0%} of the digits"
        subject.compare(product, subject.expected(dense_x, dense_y), where)
        if not all(
            torch.equal(_values(operand), copy)
            for operand, copy in zip((x, y), before, strict=True)
        ):
            raise CheckFailed(f"{where}: an operand was changed")


def _sparse(digits: Tensor) -> SparseDigits:
    rows, columns = digits.nonzero(as_tuple=True)
    shape = digits.shape[0], digits.shape[1]
    return SparseDigits.from_entries(rows, columns, digits[rows, columns], shape)


def _values(operand: Tensor | SparseDigits) -> Tensor:
    return operand.values if isinstance(operand, SparseDigits) else operand


CHECKS = (sparse_product,)
