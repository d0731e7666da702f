"""Operands on their way to a backend: checks, batches, and what `prepare` made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from accelsim.errors import InputError
from gemm_backends.errors import BackendError
from gemm_backends.types import Operand, OverflowReport

DIGIT_TYPES = (torch.int8, torch.int16)


@dataclass(frozen=True)
class Prepared:
    """Digits that `GemmBackend.prepared` made ready for `GemmBackend.multiply`.

    Parameters
    ----------
    shape : torch.Size
        Shape of the digits, ``[..., rows, d]``.
    operands : tuple
        What the backend's `prepare` returned: one for all, or one per matrix of the batch.
    negative : bool
        Whether a digit may be negative.
    """

    shape: torch.Size
    operands: tuple[Operand, ...]
    negative: bool = True


def check_digits(digits: Tensor, bits: int, name: str) -> None:
    """Check the type and the number of dimensions of one operand.

    Parameters
    ----------
    digits : Tensor
        The operand.
    bits : int
        The widest digit that the backend takes.
    name : str
        The operand's name in messages.

    Raises
    ------
    InputError
        If `digits` is not an int8 tensor (or int16, where the backend takes more than 8 bits) of at
        least two dimensions.
    """
    if digits.dtype not in DIGIT_TYPES or (digits.dtype == torch.int16 and bits <= 8):
        wanted = "int8" if bits <= 8 else "int8 or int16"
        raise InputError(f"{name} must hold {wanted} digits, got {_type_name(digits)}")
    if digits.ndim < 2:
        raise InputError(f"{name} must be a matrix or a batch of them, got shape {[*digits.shape]}")


def check_shapes(a: torch.Size, b: torch.Size) -> None:
    """Check that ``[..., n, d]`` and ``[..., h, d]`` agree in all but n and h.

    Raises
    ------
    InputError
        If they do not.
    """
    if a[-1] != b[-1]:
        raise InputError(f"A {[*a]} and B {[*b]} differ in their last dimension, the summed one")
    if a[:-2] != b[:-2]:
        raise InputError(f"A {[*a]} and B {[*b]} differ in their batch dimensions")


def check_product(product: object, shape: torch.Size, backend: str) -> None:
    """Check that what a backend returned is an int32 or int64 tensor of this shape.

    Raises
    ------
    BackendError
        If it is not.
    """
    if not isinstance(product, Tensor):
        found = type(product).__name__
        raise BackendError(f"backend {backend!r} returned {found} instead of a tensor")
    if product.shape != shape:
        raise BackendError(
            f"backend {backend!r} returned shape {[*product.shape]} instead of {[*shape]}"
        )
    if product.dtype not in (torch.int32, torch.int64):
        raise BackendError(
            f"backend {backend!r} returned {_type_name(product)} instead of int32 or int64"
        )


def matrices(digits: Tensor) -> list[Tensor]:
    """Return the matrices of ``[..., rows, d]`` one by one, as views."""
    if digits.ndim == 2:
        return [digits]
    count = digits.shape[:-2].numel()
    return list(digits.reshape(count, *digits.shape[-2:]).unbind(0))


def each_matrix(function: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """Apply a product of two matrices to every pair of a batch.

    Parameters
    ----------
    function : callable
        Takes ``[n, d]`` and ``[h, d]`` and returns ``[n, h]`` int32.
    a, b : Tensor
        ``[..., n, d]`` and ``[..., h, d]`` with equal leading dimensions.

    Returns
    -------
    Tensor
        ``[..., n, h]`` int32.
    """
    products = [function(x, y) for x, y in zip(matrices(a), matrices(b), strict=True)]
    if not products:
        return a.new_zeros((*a.shape[:-1], b.shape[-2]), dtype=torch.int32)
    return unflattened(products, a.shape)


def unflattened(products: Sequence[Tensor], shape: torch.Size) -> Tensor:
    """Join the products of a batch, one ``[n, h]`` per matrix, into ``[..., n, h]``.

    Parameters
    ----------
    products : sequence of Tensor
        In the order of `matrices`, at least one.
    shape : torch.Size
        Shape of either operand of the batch.
    """
    if len(shape) == 2:
        return products[0]
    return torch.stack(list(products)).reshape(*shape[:-2], *products[0].shape)


def summed(reports: Sequence[OverflowReport], shape: torch.Size) -> OverflowReport:
    """Join the reports of a batch, one per matrix, into one.

    Parameters
    ----------
    reports : sequence of OverflowReport
        In the order of `matrices`.
    shape : torch.Size
        Shape of either operand of the batch.
    """
    counts = [report.count for report in reports if report.count is not None]
    count = sum(counts) if len(counts) == len(reports) else None
    for index, report in enumerate(reports):
        if report.first is not None:
            return OverflowReport(count, (*_batch_index(index, shape), *report.first))
    return OverflowReport(count)


def _batch_index(index: int, shape: torch.Size) -> tuple[int, ...]:
    if len(shape) == 2:
        return ()
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(index, device="cpu"), shape[:-2]))


def _type_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
