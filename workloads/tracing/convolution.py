"""Convolutions as GEMMs: every place of the kernel is a row, unfolded where places overlap.

With P the patches of the input, one row for each place of the kernel, and W the kernel, a
convolution is ``P @ W.T``. A transposed one is the gradient of a convolution: ``X @ W``, whose
columns are added where they overlap. Groups are a batch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from workloads.tracing.multiplication import GemmOperands, Multiplication, one, rule
from workloads.tracing.strides import as_returned


@dataclass(frozen=True)
class _Geometry:
    """The places of the kernel.

    Parameters
    ----------
    kernel, steps, padding, dilation : sequence of int
        One for each dimension of space.
    groups : int
        How many groups of channels there are.
    """

    kernel: Sequence[int]
    steps: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    groups: int

    @property
    def reach(self) -> list[int]:
        """Number of entries that the kernel covers along each dimension, gaps included."""
        return [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]

    def patches(self, image: Tensor) -> Tensor:
        """Return ``[groups, images * places, channels of a group * kernel]``."""
        dims = len(self.kernel)
        unfolded = pad(image, [p for each in reversed(self.padding) for p in (each, each)])
        for dim, (reach, step, gap) in enumerate(
            zip(self.reach, self.steps, self.dilation, strict=True), start=2
        ):
            unfolded = unfolded.unfold(dim, reach, step)[..., ::gap]
        last = [0, *range(2, 2 + dims), 1, *range(2 + dims, 2 + 2 * dims)]
        return self._grouped(unfolded.permute(last), image.shape[1] * math.prod(self.kernel))

    def rows(self, image: Tensor) -> Tensor:
        """Return ``[groups, images * places, channels of a group]``."""
        return self._grouped(image.movedim(1, -1), image.shape[1])

    def _grouped(self, x: Tensor, width: int) -> Tensor:
        flat = x.reshape(-1, self.groups, width // self.groups)
        return flat[:, 0] if self.groups == 1 else flat.transpose(0, 1)

    def weight(self, weight: Tensor) -> Tensor:
        """Return ``[groups, first channels of a group, second channels * kernel]``."""
        flat = weight.flatten(1)
        return flat if self.groups == 1 else flat.reshape(self.groups, -1, flat.shape[1])

    def image(self, rows: Tensor, shape: Sequence[int]) -> Tensor:
        """Undo `rows`: return ``[images, channels, places]``."""
        together = rows if self.groups == 1 else rows.transpose(0, 1)
        images, channels, *places = shape
        return together.reshape(images, *places, channels).movedim(-1, 1)

    def fold(self, patches: Tensor, places: Sequence[int], shape: Sequence[int]) -> Tensor:
        """Undo `patches`: add what overlaps, in the order of the kernel's entries."""
        images, channels, *size = shape
        dims = len(size)
        together = patches if self.groups == 1 else patches.transpose(0, 1)
        apart = together.reshape(images, *places, channels, *self.kernel).movedim(1 + dims, 1)
        padded = [length + 2 * p for length, p in zip(size, self.padding, strict=True)]
        result = patches.new_zeros(images, channels, *padded)
        for entry in itertools.product(*map(range, self.kernel)):
            where: tuple[Any, ...] = tuple(
                slice(e * gap, e * gap + step * (count - 1) + 1, step)
                for e, gap, step, count in zip(
                    entry, self.dilation, self.steps, places, strict=True
                )
            )
            part: tuple[Any, ...] = (..., *entry)
            result[..., *where] += apart[part]
        inner: tuple[Any, ...] = tuple(
            slice(p, p + n) for p, n in zip(self.padding, size, strict=True)
        )
        return result[..., *inner]


def _geometry(weight: Tensor, options: dict[str, Any]) -> _Geometry:
    kernel = weight.shape[2:]
    lists = (options[name] for name in ("stride", "padding", "dilation"))
    steps, padding, dilation = (x * len(kernel) if len(x) == 1 else x for x in map(list, lists))
    return _Geometry(kernel, steps, padding, dilation, options["groups"])


def _shape(input: Tensor, weight: Tensor, where: _Geometry, options: dict[str, Any]) -> list[int]:
    """Return the shape of a convolution's result."""
    lengths = zip(input.shape[2:], where.reach, where.steps, where.padding, strict=True)
    if not options["transposed"]:
        places = [(n + 2 * p - reach) // step + 1 for n, reach, step, p in lengths]
        return [input.shape[0], weight.shape[0], *places]
    more = list(options["output_padding"])
    more = more * len(where.kernel) if len(more) == 1 else more
    places = [
        (n - 1) * step - 2 * p + reach + extra
        for (n, reach, step, p), extra in zip(lengths, more, strict=True)
    ]
    return [input.shape[0], weight.shape[1] * where.groups, *places]


def _arguments(options: dict[str, Any]) -> list[Any]:
    """Return what a convolution and its gradient are told beside tensors, in order."""
    names = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
    return [options[name] for name in names]


@rule("convolution", "_convolution", "convolution_overrideable")
def _convolution(
    input: Tensor, weight: Tensor, bias: Tensor | None, **options: Any
) -> Multiplication:
    where = _geometry(weight, options)
    shape = _shape(input, weight, where, options)
    if options["transposed"]:
        product = GemmOperands(where.rows(input), where.weight(weight).mT, "linear")
    else:
        product = GemmOperands(where.patches(input), where.weight(weight), "linear")

    def finish(c: Tensor) -> Tensor | None:
        if options["transposed"]:
            result = where.fold(c, input.shape[2:], shape)
        else:
            result = where.image(c, shape)
        if bias is not None:
            result = result + bias.reshape(-1, *[1] * (input.ndim - 2))
        args = [input, weight, bias, *_arguments(options)]
        return as_returned(torch.ops.aten.convolution.default, args, [result])[0]

    return one(product, finish)


@rule("convolution_backward", "convolution_backward_overrideable")
def _convolution_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, output_mask: Sequence[bool], **options: Any
) -> Multiplication:
    where, transposed = _geometry(weight, options), options["transposed"]
    gradient = where.patches(grad_output) if transposed else where.rows(grad_output)
    products = []
    if output_mask[0]:
        other = where.weight(weight)
        products.append(GemmOperands(gradient, other if transposed else other.mT, "linear", "a"))
    if output_mask[1]:
        other = where.rows(input) if transposed else where.patches(input)
        products.append(GemmOperands(gradient.mT, other.mT, "linear", "b"))

    def finish(results: Sequence[Tensor]) -> tuple[Tensor | None, ...]:
        rest = list(results)
        of_input = of_weight = of_bias = None
        if output_mask[0]:
            c = rest.pop(0)
            if transposed:
                of_input = where.image(c, input.shape)
            else:
                of_input = where.fold(c, grad_output.shape[2:], input.shape)
        if output_mask[1]:
            c = rest.pop(0)
            of_weight = (c.mT if transposed else c).reshape(weight.shape)
        if output_mask[2]:
            of_bias = grad_output.sum([dim for dim in range(input.ndim) if dim != 1])
        sizes = [weight.shape[1] * where.groups if transposed else weight.shape[0]]
        args = [grad_output, input, weight, sizes, *_arguments(options), output_mask]
        return tuple(
            as_returned(
                torch.ops.aten.convolution_backward.default, args, [of_input, of_weight, of_bias]
            )
        )

    return Multiplication(products, finish)
