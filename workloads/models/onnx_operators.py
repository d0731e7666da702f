"""Which operators of ONNX multiply matrices, and which of them are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from accelsim.plugins.extras import need

EXTRA = "onnx"

PRODUCTS = ("MatMul", "Gemm")
"""The operators that are read."""

STANDARD = ("", "ai.onnx")
"""ONNX's own domain."""

OTHERS = frozenset(
    (
        *("Attention", "CausalConvWithState", "Conv", "ConvInteger", "ConvTranspose", "DeformConv"),
        *("Einsum", "GRU", "LSTM", "LinearAttention", "MatMulInteger", "QLinearConv"),
        *("QLinearMatMul", "RNN"),
    )
)
"""Operators of ONNX's own domain that multiply matrices and are not read."""

MACHINE_LEARNING = frozenset(
    ("LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor")
)
"""Those of ``ai.onnx.ml``."""

WITHOUT_PRODUCTS = frozenset(
    (
        *("BiasAdd", "BiasDropout", "BiasGelu", "BiasSoftmax", "BiasSplitGelu", "BitmaskDropout"),
        *("BitmaskBiasDropout", "DequantizeBFP", "DequantizeLinear", "DequantizeWithOrder"),
        *(
            "EmbedLayerNormalization",
            "ExpandDims",
            "FastGelu",
            "GatedRMSNorm",
            "GatherBlockQuantized",
        ),
        *("GatherND", "Gelu", "GemmaRotaryEmbedding", "GridSample", "GroupNorm", "IsAllFinite"),
        *("MRotaryEmbedding", "MaxpoolWithMask", "MulInteger", "NGramRepeatBlock", "NhwcMaxPool"),
        *("Pad", "QEmbedLayerNormalization", "QLinearAdd", "QLinearAveragePool", "QLinearConcat"),
        *("QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMul", "QLinearReduceMean"),
        *("QLinearSigmoid", "QLinearSoftmax", "QLinearWhere", "QOrderedGelu", "QuickGelu", "Range"),
        *("QOrderedLayerNormalization", "QuantizeBFP", "QuantizeLinear", "QuantizeWithOrder"),
        *("ReduceSumInteger", "RelativePositionBias", "RemovePadding", "RestorePadding"),
        *(
            "RotaryEmbedding",
            "SkipGroupNorm",
            "SkipLayerNormalization",
            "SwiGLU",
            "Trilu",
            "Unique",
        ),
        "SkipSimplifiedLayerNormalization",
    )
)
"""Operators of ``com.microsoft`` that multiply no matrices; others of it are named."""

_KEEPS_PROBABILITIES = frozenset(
    (
        *("Cast", "CastLike", "DequantizeLinear", "Dropout", "Expand", "Flatten", "Identity"),
        *("QuantizeLinear", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"),
    )
)
"""Operators that change the layout, the type or a part of a tensor alone."""


def is_product(node: Any) -> bool:
    """Return whether a node is a MatMul or a Gemm of ONNX itself."""
    return node.domain in STANDARD and node.op_type in PRODUCTS


def left_out(model: Any) -> Counter[str]:
    """Count what may multiply matrices and is not read, by what it is.

    These are the operators above, all operators that neither ONNX nor this file knows, and products
    in the bodies of If, Loop and Scan, which run any number of times.
    """
    found: Counter[str] = Counter()
    for node in model.graph.node:
        if name := _unread(node):
            found[name] += 1
        for inner in _inside(node):
            name = inner.op_type if is_product(inner) else _unread(inner)
            if name:
                found[f"{name} in the body of {node.op_type}"] += 1
    return found


def _unread(node: Any) -> str:
    """Return the name of an operator that is not read, or an empty text if there is no product."""
    if node.domain in STANDARD:
        is_known = need("onnx", EXTRA).defs.has(node.op_type)
        return node.op_type if node.op_type in OTHERS or not is_known else ""
    if node.domain == "ai.onnx.ml":
        return node.op_type if node.op_type in MACHINE_LEARNING else ""
    if node.domain == "com.microsoft" and node.op_type in WITHOUT_PRODUCTS:
        return ""
    return f"{node.domain}.{node.op_type}"


def has_body(node: Any) -> bool:
    """Return whether a node runs others, as If, Loop and Scan do."""
    return next(_inside(node), None) is not None


def _inside(node: Any) -> Iterator[Any]:
    """Yield the nodes in the bodies of a node."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield inner
                yield from _inside(inner)


def constants(model: Any) -> set[str]:
    """Return the tensors that depend on no input: weights, and what is computed from them alone."""
    found = {tensor.name for tensor in model.graph.initializer}
    found |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    for node in model.graph.node:
        inputs = [name for name in node.input if name]
        is_constant = all(name in found for name in inputs) and not has_body(node)
        if is_constant and (inputs or node.op_type == "Constant"):
            found.update(node.output)
    return found


def probabilities(model: Any, fixed: set[str]) -> set[str]:
    """Return the tensors that a Softmax computes, in any layout, type or part, masked or not.

    Parameters
    ----------
    model : onnx.ModelProto
        The model.
    fixed : set of str
        Its `constants`.
    """
    found: set[str] = set()
    for node in model.graph.node:
        sources: list[str] = []
        if node.op_type in _KEEPS_PROBABILITIES:
            sources = [node.input[0]]
        elif node.op_type == "Where":
            sources = [name for name in node.input[1:] if name not in fixed]
        if node.op_type == "Softmax" or (sources and found.issuperset(sources)):
            found.update(node.output)
    return found
