"""Fused scaled-dot-product attention, taken apart into its GEMMs.

With ``S = Q @ K.T``, ``P = softmax(scale * S + mask)`` and ``O = P @ V``, the forward GEMMs are S
(`qk`, A = Q, B = K) and O (`pv`, A = P, B = V.T). The gradients of their operands are
``dP = dO @ V.T``, ``dV = P.T @ dO``, ``dQ = dS @ K`` and ``dK = dS.T @ Q``, where
``dS = scale * P * (dP - rowsum(P * dP))`` is the gradient of S (Dao et al., FlashAttention,
NeurIPS 2022, appendix B).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from workloads.tracing.multiplication import GemmOperands, Multiplication, rule

KERNELS = (
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)

DROPOUT = (
    "a fused kernel drops probabilities at random and keeps them to itself; "
    "call model.eval(), set dropout to 0 or use unfused attention"
)


@rule(*KERNELS)
def _forward(
    query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0, **options: Any
) -> Multiplication | str:
    if dropout_p:
        return DROPOUT
    return Multiplication(_forward_products(query, key, value, **_known(options)))


@rule(*(f"{name}_backward" for name in KERNELS))
def _backward(
    query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0, **options: Any
) -> Multiplication | str:
    if dropout_p:
        return DROPOUT
    gradient = options.get("grad_out", options.get("grad_out_"))
    assert gradient is not None, "every backward kernel takes the gradient of its output"
    return Multiplication(_backward_products(gradient, query, key, value, **_known(options)))


def _known(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "mask": options.get("attn_mask", options.get("attn_bias")),
        "causal": options.get("is_causal", False),
        "scale": options.get("scale"),
    }


def _forward_products(
    query: Tensor, key: Tensor, value: Tensor, **options: Any
) -> Iterator[GemmOperands]:
    q, k, v = _heads(query, key, value)
    yield GemmOperands(q, k, "qk")
    yield GemmOperands(_probabilities(q, k, query.shape, **options), v.mT, "pv")


def _backward_products(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, **options: Any
) -> Iterator[GemmOperands]:
    q, k, v = _heads(query, key, value)
    d_o = gradient.reshape(-1, *gradient.shape[-2:])
    p = _probabilities(q, k, query.shape, **options)
    yield GemmOperands(d_o.mT, p.mT, "pv", gradient_of="b")
    yield GemmOperands(d_o, v, "pv", gradient_of="a")
    d_s = p if p.is_meta else _softmax_gradient(p, d_o @ v.mT, _scale(q, options["scale"]))
    yield GemmOperands(d_s, k.mT, "qk", gradient_of="a")
    yield GemmOperands(d_s.mT, q.mT, "qk", gradient_of="b")


def _softmax_gradient(p: Tensor, d_p: Tensor, scale: float) -> Tensor:
    """Return dS, in the type of P; computed in float32."""
    wide, gradient = p.float(), d_p.float()
    centered = gradient - (wide * gradient).sum(-1, keepdim=True)
    return (scale * wide * centered).to(p.dtype)


def _heads(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``[batch * heads, tokens, size]``; grouped keys and values are repeated."""
    heads = query.shape[-3]
    spread = [x.repeat_interleave(heads // x.shape[-3], dim=-3) for x in (key, value)]
    flat = [x.reshape(-1, *x.shape[-2:]) for x in (query, *spread)]
    return flat[0], flat[1], flat[2]


def _scale(q: Tensor, scale: float | None) -> float:
    return 1 / math.sqrt(q.shape[-1]) if scale is None else scale


def _probabilities(
    q: Tensor,
    k: Tensor,
    shape: torch.Size,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
) -> Tensor:
    """Return P, in the type of the queries; the softmax is float32."""
    if q.is_meta:
        return q.new_empty(*q.shape[:-1], k.shape[-2])
    scores = (q @ k.mT).float() * _scale(q, scale)
    if causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        scores = scores.masked_fill(~allowed, -math.inf)
    if mask is not None:
        apart = scores.reshape(*shape[:-1], k.shape[-2])
        scores = (
            apart.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else apart + mask
        ).reshape(scores.shape)
    # A row that is masked wholly attends to nothing.
    return scores.softmax(-1).nan_to_num(0).to(q.dtype)
