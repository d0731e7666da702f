"""Operators that stayed in floating point: reasons, calls and multiplications."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from workloads.tracing.multiplication import GemmOperands
from workloads.tracing.operators import name_of


@dataclass
class Skipped:
    """Counts by reason.

    Parameters
    ----------
    calls : Counter
        How often.
    macs : Counter
        Multiplications, where they are known or can be estimated.
    unknown : Counter
        Calls for which they cannot.
    """

    calls: Counter[str] = field(default_factory=Counter)
    macs: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)

    def add(self, reason: str, macs: int | None) -> None:
        """Count one call; `macs` is None where its multiplications cannot be told."""
        self.calls[reason] += 1
        if macs is None:
            self.unknown[reason] += 1
        else:
            self.macs[reason] += macs


def stays(name: str, why: str = "multiplies matrices in a kernel of its own") -> str:
    """Return the reason for an operator whose GEMMs stay in floats, with the way out if any."""
    known = _WAYS_OUT.get(name.partition("::")[2])
    return f"{name}: {why}; left in floating point" + (f": {known}" if known else "")


_WAYS_OUT = {
    "_scaled_grouped_mm": "model.set_experts_implementation('eager') shows the experts' GEMMs",
    "_scaled_grouped_mm_v2": "model.set_experts_implementation('eager') shows the experts' GEMMs",
    "_flash_attention_forward": "torch's scaled_dot_product_attention is taken apart",
    "_efficient_attention_forward": "torch's scaled_dot_product_attention is taken apart",
    "_cdist_forward": "compute_mode='use_mm_for_euclid_dist' shows its GEMM",
    "flex_attention": "attn_implementation='eager' or 'sdpa' shows its GEMMs",
}


def product_macs(product: GemmOperands) -> int:
    """Return the multiplications of one GEMM; of a sparse operand those of its entries alone."""
    for one, other in ((product.a, product.b), (product.b, product.a)):
        if one.layout != torch.strided and hasattr(one, "_nnz"):
            return int(one._nnz()) * int(other.shape[-2])
    return product.a.numel() * int(product.b.shape[-2])


def operator_macs(func: Any, args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> int | None:
    """Estimate the multiplications of an operator whose GEMMs are not seen; None if unknown."""
    try:
        return _estimate(func, args, kwargs, out)
    except Exception:  # an operand that a formula does not foresee ends no model
        return None


def _estimate(func: Any, args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> int | None:
    formula = flop_registry.get(getattr(func, "overloadpacket", func))
    if formula is not None:
        return int(formula(*args, **kwargs, out_val=out)) // 2
    namespace, _, name = name_of(func).partition("::")
    if namespace == "quantized" and name.startswith("linear"):
        return _linear(args, out)
    estimate = _ESTIMATES.get(name) if namespace == "aten" else None
    return None if estimate is None else estimate(args, out)


def _linear(args: Sequence[Any], out: Any) -> int | None:
    """Every entry of the result is a sum over the last dimension of the first operand."""
    return int(out.numel()) * int(args[0].shape[-1]) if isinstance(out, Tensor) else None


def _distances(args: Sequence[Any], out: Any) -> int:
    return int(args[0].numel()) * int(args[1].shape[-2])


def _sparse_addmm(args: Sequence[Any], out: Any) -> int:
    return product_macs(
        GemmOperands(args[1], args[2].mT if args[2].layout == torch.strided else args[2])
    )


def _recurrent(args: Sequence[Any], out: Any) -> int:
    steps, batch = args[0].shape[:2]
    return int(steps * batch * (args[1].numel() + args[2].numel()))


_ESTIMATES: dict[str, Callable[[Sequence[Any], Any], int | None]] = {
    "_cdist_forward": _distances,
    "_euclidean_dist": _distances,
    "_pdist_forward": lambda args, out: int(out.numel()) * int(args[0].shape[-1]),
    "_sparse_addmm": _sparse_addmm,
    "_dyn_quant_matmul_4bit": _linear,
    "mkldnn_rnn_layer": _recurrent,
    **dict.fromkeys(
        (
            "_int_mm",
            "_mixed_dtypes_linear",
            "_scaled_mm_v2",
            "_sparse_semi_structured_linear",
            "_weight_int4pack_mm",
            "_weight_int4pack_mm_for_cpu",
            "_weight_int8pack_mm",
            "linear",
            "mkldnn_linear",
        ),
        _linear,
    ),
}
