"""Convolutions that are GEMMs: kernels that do not overlap, such as a ViT's patch embedding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from workloads.tracing.multiplication import Multiplication, Product, one, rule

OVERLAPS = (
    "only convolutions are captured that are one GEMM: stride equal to the kernel's size (or a "
    "kernel of one element), no padding, no dilation, one group"
)


@rule("convolution")
def _convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None, **options: Any
) -> Multiplication | str:
    if not _is_gemm(weight, **options):
        return OVERLAPS
    steps, size = options["stride"], weight.shape[2:]
    patches = _patches(input, size, steps)
    places = _places(input, size, steps)

    def finish(c: Tensor) -> Tensor:
        result = c.reshape(input.shape[0], *places, -1).movedim(-1, 1)
        return result if bias is None else result + bias.reshape(-1, *[1] * len(places))

    return one(Product(patches, weight.flatten(1), "linear"), finish)


@rule("convolution_backward")
def _convolution_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, output_mask: Sequence[bool], **options: Any
) -> Multiplication | str:
    options.pop("bias_sizes", None)
    if not _is_gemm(weight, **options):
        return OVERLAPS
    steps, size = options["stride"], weight.shape[2:]
    gradient = grad_output.movedim(1, -1).flatten(0, -2)
    products = []
    if output_mask[0]:
        products.append(Product(gradient, weight.flatten(1).mT, "linear", gradient_of="a"))
    if output_mask[1]:
        patches = _patches(input, size, steps)
        products.append(Product(gradient.mT, patches.mT, "linear", gradient_of="b"))

    def finish(results: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        rest = list(results)
        of_input = _unpatch(rest.pop(0), input, size, steps) if output_mask[0] else None
        of_weight = rest.pop(0).reshape(weight.shape) if output_mask[1] else None
        of_bias = gradient.sum(0) if output_mask[2] else None
        return of_input, of_weight, of_bias

    return Multiplication(products, finish)


def _is_gemm(
    weight: Tensor,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> bool:
    size = weight.shape[2:]
    apart = all(step >= length for step, length in zip(stride, size, strict=True))
    plain = not any(padding) and all(value == 1 for value in dilation)
    return apart and plain and not transposed and groups == 1


def _places(input: Tensor, size: Sequence[int], steps: Sequence[int]) -> list[int]:
    """Return how many times the kernel is applied along each dimension."""
    lengths = zip(input.shape[2:], size, steps, strict=True)
    return [(length - kernel) // step + 1 for length, kernel, step in lengths]


def _patches(input: Tensor, size: Sequence[int], steps: Sequence[int]) -> Tensor:
    """Return ``[images * places, channels * kernel]``, one row for each place of the kernel."""
    unfolded = input
    for dim, (kernel, step) in enumerate(zip(size, steps, strict=True), start=2):
        unfolded = unfolded.unfold(dim, kernel, step)
    dims = len(size)
    last = [0, *range(2, 2 + dims), 1, *range(2 + dims, 2 + 2 * dims)]
    return unfolded.permute(last).reshape(-1, input.shape[1] * math.prod(size))


def _unpatch(rows: Tensor, input: Tensor, size: Sequence[int], steps: Sequence[int]) -> Tensor:
    """Put the gradient of `_patches` back where the patches came from."""
    index = torch.arange(input.numel(), device=input.device).reshape(input.shape)
    result = torch.zeros(input.numel(), dtype=rows.dtype, device=rows.device)
    result[_patches(index, size, steps).flatten()] = rows.flatten()
    return result.reshape(input.shape)
