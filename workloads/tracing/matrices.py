"""The rules of products of matrices and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, relu

from workloads.tracing.multiplication import GemmOperands, Multiplication, one, rule


@rule("mm", "bmm")
def _mm(self: Tensor, mat2: Tensor, out_dtype: torch.dtype | None = None) -> Multiplication:
    return one(GemmOperands(self, mat2.mT), lambda c: c if out_dtype is None else c.to(out_dtype))


@rule("addmm", "addmm_")
def _addmm(
    self: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    beta: float = 1,
    alpha: float = 1,
    out_dtype: torch.dtype | None = None,
) -> Multiplication:
    def finish(c: Tensor) -> Tensor:
        added = _added(self, c, beta, alpha)
        return added if out_dtype is None else added.to(out_dtype)

    return one(GemmOperands(mat1, mat2.mT), finish)


@rule("baddbmm", "baddbmm_")
def _baddbmm(self: Tensor, batch1: Tensor, batch2: Tensor, **options: Any) -> Multiplication:
    result: Multiplication = _addmm(self, batch1, batch2, **options)  # type: ignore[assignment]
    return result


@rule("linear")
def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Multiplication:
    """Take the whole operator, which is seen where autograd does not take it apart."""
    shape = input.shape[:-1] + weight.shape[:-1]
    rows = input if input.ndim == 2 else input.reshape(-1, input.shape[-1])

    def finish(c: Tensor) -> Tensor:
        out = c.view(shape)
        return out if bias is None else _added(bias, out, 1, 1)

    return one(GemmOperands(rows, weight if weight.ndim == 2 else weight[None]), finish)


@rule("_addmm_activation")
def _addmm_activation(
    self: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    beta: float = 1,
    alpha: float = 1,
    use_gelu: bool = False,
) -> Multiplication:
    # On a GPU the kernel has the approximation by tanh.
    approximate = "tanh" if self.is_cuda else "none"

    def finish(c: Tensor) -> Tensor:
        added = _added(self, c, beta, alpha)
        return gelu(added, approximate=approximate) if use_gelu else relu(added)

    return one(GemmOperands(mat1, mat2.mT), finish)


@rule("addbmm", "addbmm_")
def _addbmm(
    self: Tensor, batch1: Tensor, batch2: Tensor, beta: float = 1, alpha: float = 1
) -> Multiplication:
    """Take the sum over the batch as a part of the sum over the depth: one GEMM."""
    a = batch1.transpose(0, 1).flatten(1)
    return one(GemmOperands(a, batch2.flatten(0, 1).mT), lambda c: _added(self, c, beta, alpha))


@rule("mv")
def _mv(self: Tensor, vec: Tensor) -> Multiplication:
    return one(GemmOperands(self, vec[None]), lambda c: c.squeeze(-1))


@rule("addmv", "addmv_")
def _addmv(
    self: Tensor, mat: Tensor, vec: Tensor, beta: float = 1, alpha: float = 1
) -> Multiplication:
    return one(GemmOperands(mat, vec[None]), lambda c: _added(self, c.squeeze(-1), beta, alpha))


@rule("dot")
def _dot(self: Tensor, tensor: Tensor) -> Multiplication:
    return one(GemmOperands(self[None], tensor[None]), lambda c: c.reshape(()))


@rule("vdot")
def _vdot(self: Tensor, other: Tensor) -> Multiplication:
    return one(GemmOperands(self.conj()[None], other[None]), lambda c: c.reshape(()))


@rule("_foreach_mm")
def _foreach_mm(self: Sequence[Tensor], mat2: Sequence[Tensor]) -> Multiplication:
    products = [GemmOperands(a, b.mT) for a, b in zip(self, mat2, strict=True)]
    return Multiplication(products, list)


def _added(base: Tensor, c: Tensor, beta: float, alpha: float) -> Tensor:
    # With beta = 0 the base is ignored, even where it is NaN.
    if alpha == beta == 1:
        return (base + c).contiguous()
    added = alpha * c if beta == 0 else beta * base + alpha * c
    return added.contiguous()
