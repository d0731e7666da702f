"""The shapes that an ONNX model computes: small tensors that follow from known shapes alone.

ONNX's own inference follows few of the operators by which exporters compute the shape of a Reshape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from accelsim.plugins.extras import need
from workloads.models.onnx_operators import EXTRA, STANDARD, has_body, is_product

MOST = 64
"""Elements of the largest tensor that is taken for a shape, or for a part of one."""

RANDOM = frozenset(("Bernoulli", "Dropout", "Multinomial", "RandomNormalLike", "RandomUniformLike"))
"""Operators whose results are not those of their inputs alone."""


def forget_weights(model: Any) -> None:
    """Drop the values of large weights, which no shape depends on and which take time to pass."""
    kinds = need("onnx", EXTRA).TensorProto
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) > MOST and tensor.data_location != kinds.EXTERNAL:
            shape = kinds(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
            shape.data_location = kinds.EXTERNAL
            tensor.CopyFrom(shape)


def fold(model: Any, shapes: Mapping[str, Sequence[int | None] | None]) -> bool:
    """Replace nodes whose results are known by these results; return whether there were any.

    Parameters
    ----------
    model : onnx.ModelProto
        The model, which is changed. Its products stay.
    shapes : mapping
        The shapes of its tensors as far as they are known.
    """
    helper, kinds = need("onnx.numpy_helper", EXTRA), need("onnx", EXTRA).TensorProto
    known = {
        tensor.name: helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_location != kinds.EXTERNAL and math.prod(tensor.dims) <= MOST
    }
    opsets = {each.domain: each.version for each in model.opset_import}
    kept = []
    for node in model.graph.node:
        found = _result(node, known, shapes, opsets)
        if found is None:
            kept.append(node)
        else:
            known[node.output[0]] = found
            model.graph.initializer.append(helper.from_array(found, node.output[0]))
    is_less = len(kept) < len(model.graph.node)
    if is_less:
        nodes = need("onnx", EXTRA).GraphProto(node=kept).node
        model.graph.ClearField("node")
        model.graph.node.extend(nodes)
    return is_less


def _result(
    node: Any,
    known: Mapping[str, Any],
    shapes: Mapping[str, Sequence[int | None] | None],
    opsets: Mapping[str, int],
) -> Any:
    """Return what a node computes, or None if that is not known or no shape."""
    if node.domain not in STANDARD or len(node.output) != 1 or node.op_type in RANDOM:
        return None
    if node.op_type == "Shape":
        shape = shapes.get(node.input[0])
        if shape is None or None in shape:
            return None
        flags = {attribute.name: attribute.i for attribute in node.attribute}
        return np.array(shape, np.int64)[flags.get("start", 0) : flags.get("end", len(shape))]
    inputs = {name: known.get(name) for name in node.input if name}
    is_unknown = any(value is None for value in inputs.values())
    if is_unknown or is_product(node) or has_body(node) or not (inputs or _is_constant(node)):
        return None
    reference = need("onnx.reference", EXTRA)
    try:
        (found,) = reference.ReferenceEvaluator(node, opsets=dict(opsets)).run(None, inputs)
    except Exception:  # what the reference cannot do stays as it is
        return None
    return found if isinstance(found, np.ndarray) and found.size <= MOST else None


def _is_constant(node: Any) -> bool:
    return bool(node.op_type == "Constant")
