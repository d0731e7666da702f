"""Operators that have the same bits on every device by themselves.

They move, choose, compare or create entries, or are one operation each of IEEE 754.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


EXACT = _names(
    """
    _assert_async _assert_scalar _assert_tensor_metadata _local_scalar_dense _reshape_alias
    _reshape_copy _to_copy _unsafe_index _unsafe_view abs add alias amax amin any all as_strided
    bitwise_and bitwise_not bitwise_or bitwise_xor cat ceil clamp clamp_max clamp_min clone
    constant_pad_nd copy copysign detach detach_copy div embedding empty empty_like empty_permuted
    empty_strided eq equal expand_copy fill flip floor full full_like gather ge gt index index_copy
    index_fill index_select is_same_size isfinite isinf isnan isneginf isposinf le lift lift_fresh
    logical_and logical_not logical_or logical_xor lt masked_fill masked_select max maximum min
    minimum mul nan_to_num ne neg new_empty new_empty_strided new_full new_ones new_zeros nonzero
    ones ones_like permute_copy relu repeat repeat_interleave resize roll round rsub scalar_tensor
    select_scatter sgn sign signbit slice_scatter sqrt stack sub to transpose_copy tril triu trunc
    unsafe_split unsafe_split_with_sizes where zero zeros zeros_like
    """
)
"""Names in the namespace aten, without the underscore of those that write in place."""

CONVERTED = _names("exact_linear exact_linear_input")
"""Products of a converted model in the namespace accelsim, for one scale a row."""

PLACED = _names("index_put _index_put_impl _unsafe_index_put")
"""Operators that put entries in their places, unless they add them up there."""


def is_exact(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> bool:
    """Whether the result of an operator that has run is the same on every device.

    Parameters
    ----------
    func : OpOverload
        The operator.
    args, kwargs
        Its arguments.
    result : object
        What it returned.
    """
    schema = getattr(func, "_schema", None)
    if schema is None:
        return False
    if func.is_view:
        return True
    namespace, _, name = schema.name.partition("::")
    name = name.rstrip("_")
    if namespace == "aten" and name in EXACT:
        return True
    if namespace == "accelsim" and name in CONVERTED:
        from accelsim.integer_mode.converted.config import parsed

        return parsed(args[-1]).granularity == "row"
    if namespace == "aten" and name in PLACED:
        return not (kwargs.get("accumulate") or (len(args) > 3 and args[3]))
    return not any(_is_inexact(x) for x in _tensors((args, kwargs, result)))


def _is_inexact(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _tensors(values: Any) -> Iterable[Tensor]:
    return (x for x in tree_leaves(values) if isinstance(x, torch.Tensor))
