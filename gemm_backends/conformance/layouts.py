"""Checks of how operands lie in memory: only their digits may matter."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from gemm_backends.conformance.causes import raised
from gemm_backends.conformance.check import CheckFailed, NotApplicable, check
from gemm_backends.conformance.operands import usual_shape
from gemm_backends.conformance.subject import Subject

DEGENERATE = ((1, 24, 1), (1, 24, 7), (6, 24, 1), (6, 1, 7), (1, 1, 1), (1, 0, 7), (0, 24, 7))
"""Shapes (n, d, h) with a dimension of one entry, or of none."""

POISON = 0x5A
"""The byte that memory is filled with before it is given back to the allocator."""


@check
def strides(subject: Subject) -> str:
    """Transposed, sliced, broadcast and offset operands give the same as contiguous ones."""
    n, d, h = usual_shape(subject)
    a, b = subject.random(n, d, h)
    for view_a, view_b in itertools.product(views(a), views(b)):
        subject.verify(view_a, view_b, _strides(view_a, view_b))
    row_a, row_b = a[:1].expand(n, d), b[:1].expand(h, d)
    subject.verify(row_a, row_b, _strides(row_a, row_b))
    return "transposed, every other column, offset, broadcast"


@check
def ambiguous_strides(subject: Subject) -> str:
    """Strides of dimensions of one entry mean nothing; overlapping rows are rows."""
    usual = usual_shape(subject)
    shapes = [usual, *(shape for shape in DEGENERATE if subject.supports(*shape))]
    for n, d, h in shapes:
        a, b = subject.random(n, d, h)
        plain = a.clone(), b.clone()
        pairs = [(view, plain[1]) for view in _unusual(a)]
        pairs += [(plain[0], view) for view in _unusual(b)]
        for view_a, view_b in (*pairs, *zip(_unusual(a), _unusual(b), strict=False)):
            poison(subject.device, 4 * n * h, 8 * n * h)
            what = f"[{n}, {d}] x [{h}, {d}], {_strides(view_a, view_b)}"
            try:
                product = subject.backend.multiply(view_a, view_b)
            except Exception as error:
                message = f"{what}: raised {type(error).__name__}: {error}"
                raise CheckFailed(message, raised(error)) from error
            subject.compare(product, subject.expected(view_a, view_b), what)
    if len(shapes) == 1:
        raise NotApplicable(f"supports() refuses {', '.join(map(str, DEGENERATE))}")
    return f"{len(shapes)} shapes, up to 6 strides each"


def views(digits: Tensor) -> list[Tensor]:
    """Return views of other memory that equal `digits`, each with other strides."""
    rows, d = digits.shape
    filler = digits.new_ones(rows, d)
    sliced = torch.stack([digits, filler], dim=2).flatten(1)[:, ::2]
    offset = torch.cat([filler, digits])[rows:]
    return [digits, digits.T.contiguous().T, sliced, offset]


def poison(device: str, *sizes: int) -> None:
    """Leave junk in free memory of these sizes in bytes, so that what is not written shows."""
    blocks = [
        torch.full((size,), POISON, dtype=torch.uint8, device=device)
        for size in sizes
        for _ in range(8)
    ]
    del blocks


def _unusual(digits: Tensor) -> Iterator[Tensor]:
    """Yield matrices of the shape of `digits`, most of them equal to it, whose strides are odd.

    The stride of a dimension of one entry is free, and torch calls such a matrix contiguous
    whatever it is.
    """
    rows, d = digits.shape
    if rows <= 1:
        for stride in (0, 1, 2, max(d, 1) + 1, 1 << 20):
            yield digits.clone().as_strided((rows, d), (stride, 1))
    if d <= 1:
        for stride in (0, 2, max(rows, 1), 1 << 20):
            yield digits.clone().as_strided((rows, d), (1, stride))
    if rows > 1 and d > 1:
        memory = digits.flatten()
        yield memory.as_strided((rows, d), (1, 1))
        yield memory.as_strided((rows, d), (d - 1, 1))
        yield memory.as_strided((rows, d), (0, 1))
        yield memory.as_strided((rows, d), (1, 0))


def _strides(a: Tensor, b: Tensor) -> str:
    return f"strides {a.stride()} and {b.stride()}"


CHECKS = (strides, ambiguous_strides)
