"""The operators of converted models, which PyTorch can trace, compile and differentiate.

``accelsim::exact_linear`` multiplies floats with a weight that was rounded before,
``accelsim::exact_linears`` with several, and ``accelsim::exact_matmul`` two operands that are both
rounded in every call.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from accelsim.integer_mode.converted import products
from accelsim.integer_mode.converted.digits import StoredWeight


@torch.library.custom_op("accelsim::exact_linear", mutates_args=())
def exact_linear(
    x: Tensor,
    digits: Tensor,
    scale: Tensor,
    exponent: Tensor,
    offsets: Tensor,
    columns: Tensor,
    values: Tensor,
    settings: str,
) -> Tensor:
    """Round `x` and multiply it exactly with a weight that was rounded before.

    Parameters
    ----------
    x : Tensor
        ``[..., d]``, float32, float16 or bfloat16.
    digits, scale, exponent, offsets, columns, values : Tensor
        The weight ``[h, d]``; see `accelsim.integer_mode.converted.digits.StoredWeight`.
    settings : str
        What `IntegerConfig.to_json` gave.

    Returns
    -------
    Tensor
        ``[..., h]`` in the type of `x`: the exact product over the scales, rounded once.

    Raises
    ------
    DataError
        If `x` cannot be rounded, where that is known without waiting.
    """
    weight = StoredWeight(digits, scale, exponent, offsets, columns, values)
    return products.forward(x, weight, settings)


@exact_linear.register_fake
def _(
    x: Tensor,
    digits: Tensor,
    scale: Tensor,
    exponent: Tensor,
    offsets: Tensor,
    columns: Tensor,
    values: Tensor,
    settings: str,
) -> Tensor:
    return x.new_empty((*x.shape[:-1], offsets.shape[0] - 1))


@torch.library.custom_op("accelsim::exact_linears", mutates_args=())
def exact_linears(
    x: Tensor,
    digits: list[Tensor],
    scale: list[Tensor],
    exponent: list[Tensor],
    offsets: list[Tensor],
    columns: list[Tensor],
    values: list[Tensor],
    settings: str,
) -> Tensor:
    """Round `x` once and multiply it exactly with several weights that were rounded before.

    Parameters
    ----------
    x : Tensor
        ``[..., d]``, float32, float16 or bfloat16.
    digits, scale, exponent, offsets, columns, values : list of Tensor
        The weights, as `exact_linear` has them, with a scale for each row.
    settings : str
        What `IntegerConfig.to_json` gave.

    Returns
    -------
    Tensor
        What `exact_linear` gives for each weight, side by side in the last dimension.
    """
    parts = zip(digits, scale, exponent, offsets, columns, values, strict=True)
    return products.forward_joined(x, [StoredWeight(*part) for part in parts], settings)


@exact_linears.register_fake
def _(
    x: Tensor,
    digits: list[Tensor],
    scale: list[Tensor],
    exponent: list[Tensor],
    offsets: list[Tensor],
    columns: list[Tensor],
    values: list[Tensor],
    settings: str,
) -> Tensor:
    return x.new_empty((*x.shape[:-1], sum(each.shape[0] - 1 for each in offsets)))


@torch.library.custom_op("accelsim::exact_linear_input", mutates_args=())
def exact_linear_input(
    gradient: Tensor,
    digits: Tensor,
    scale: Tensor,
    exponent: Tensor,
    offsets: Tensor,
    columns: Tensor,
    values: Tensor,
    d: int,
    settings: str,
) -> Tensor:
    """Return the gradient of the input of `exact_linear`, another exact product.

    Parameters
    ----------
    gradient : Tensor
        ``[..., h]``: that of the output.
    digits, scale, exponent, offsets, columns, values, settings
        As `exact_linear` has them.
    d : int
        Columns of the weight.

    Returns
    -------
    Tensor
        ``[..., d]`` in the type of `gradient`. With one scale for the weight it is made of the
        same integers as the forward product. With a scale for each row the weight, as its integers
        and scales have it, is rounded anew along the other dimension.
    """
    weight = StoredWeight(digits, scale, exponent, offsets, columns, values)
    return products.backward(gradient, weight, d, settings)


@exact_linear_input.register_fake
def _(
    gradient: Tensor,
    digits: Tensor,
    scale: Tensor,
    exponent: Tensor,
    offsets: Tensor,
    columns: Tensor,
    values: Tensor,
    d: int,
    settings: str,
) -> Tensor:
    return gradient.new_empty((*gradient.shape[:-1], d))


def _save_weight(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, *weight, ctx.settings = inputs
    ctx.d = x.shape[-1]
    ctx.save_for_backward(*weight)


def _linear_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    weight = ctx.saved_tensors
    found = None
    if ctx.needs_input_grad[0]:
        found = exact_linear_input(gradient.contiguous(), *weight, ctx.d, ctx.settings)
    return found, *(None for _ in weight), None


exact_linear.register_autograd(_linear_backward, setup_context=_save_weight)


@torch.library.custom_op("accelsim::exact_matmul", mutates_args=())
def exact_matmul(a: Tensor, b: Tensor, kind_a: str, kind_b: str, settings: str) -> Tensor:
    """Round two operands and multiply them exactly: ``A @ B.T``.

    Parameters
    ----------
    a, b : Tensor
        ``[n, d]`` and ``[h, d]``, float32, float16 or bfloat16.
    kind_a, kind_b : str
        Which of the settings' `accelsim.settings.KINDS` they are.
    settings : str
        What `IntegerConfig.to_json` gave.

    Returns
    -------
    Tensor
        ``[n, h]`` in the type of `a`: the exact product over the scales, rounded once. It is NaN
        throughout where A is a gradient with NaN or infinity, as a gradient scaler looks for.

    Raises
    ------
    DataError
        If another operand holds NaN or infinity, or has no scale.
    """
    return products.product(a, b, kind_a, kind_b, settings)


@exact_matmul.register_fake
def _(a: Tensor, b: Tensor, kind_a: str, kind_b: str, settings: str) -> Tensor:
    return a.new_empty((a.shape[0], b.shape[0]))


def _save_operands(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    a, b, ctx.kind_a, ctx.kind_b, ctx.settings = inputs
    ctx.save_for_backward(a, b)


def _matmul_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    a, b = ctx.saved_tensors
    of_a = of_b = None
    if ctx.needs_input_grad[0]:
        of_a = exact_matmul(gradient, b.T, "gradients", ctx.kind_b, ctx.settings)
    if ctx.needs_input_grad[1]:
        of_b = exact_matmul(gradient.T, a.T, "gradients", ctx.kind_a, ctx.settings)
    return of_a, of_b, None, None, None


exact_matmul.register_autograd(_matmul_backward, setup_context=_save_operands)
