"""The GEMMs of an ONNX model: where they are, and their shapes."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.errors import InputError
from accelsim.plugins.extras import need
from workloads.models.layer import Layer

EXTRA = "onnx"

PRODUCTS = ("MatMul", "Gemm")
"""The operators that are read."""

OTHERS = frozenset(
    (
        *("Attention", "Conv", "ConvInteger", "ConvTranspose", "DeformConv", "Einsum", "FusedConv"),
        *("FusedGemm", "FusedMatMul", "GRU", "GroupQueryAttention", "LSTM", "MatMulInteger"),
        *("MatMulNBits", "MultiHeadAttention", "QAttention", "QGemm", "QLinearConv"),
        *("QLinearMatMul", "RNN"),
    )
)
"""Operators that multiply matrices and are not read, those of onnxruntime among them."""

_SAME = {"Cast", "Dropout", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze", "Where"}
"""Operators that leave weights weights, and probabilities probabilities."""


@dataclass(frozen=True)
class Site:
    """A MatMul or Gemm.

    Parameters
    ----------
    name : str
        Of its node, or else of what it computes; unique.
    op : str
        ``linear`` where a side is a weight, ``pv`` where A comes from a Softmax, else ``qk``.
    a, b : str
        Its inputs.
    turned_a, turned_b : bool
        Whether an input is ``[d, n]``, or ``[d, h]``.
    """

    name: str
    op: str
    a: str
    b: str
    turned_a: bool
    turned_b: bool

    def layer(self, a: Sequence[int], b: Sequence[int]) -> Layer:
        """Return the GEMM of inputs of these shapes.

        A linear layer's leading dimensions are rows, unless both sides have some, as experts do;
        those and the ones of other products are the batch.
        """
        lead_a, n, d = _sizes(_matrix(a, 0), self.turned_a)
        lead_b, h, _ = _sizes(_matrix(b, 1), self.turned_b)
        if self.op == "linear" and min(math.prod(lead_a), math.prod(lead_b)) == 1:
            return Layer(self.name, self.op, 1, math.prod(lead_a) * n, d, math.prod(lead_b) * h)
        return Layer(self.name, self.op, math.prod(_broadcast(lead_a, lead_b)), n, d, h)


def _matrix(shape: Sequence[int], place: int) -> tuple[int, ...]:
    """Read a vector as MatMul does: a row on the left, a column on the right."""
    return tuple(shape) if len(shape) > 1 else ((1, *shape), (*shape, 1))[place]


def _sizes(shape: Sequence[int], turned: bool) -> tuple[Sequence[int], int, int]:
    """Return the leading sizes, the rows and the columns."""
    *lead, rows, columns = shape
    return (lead, columns, rows) if turned else (lead, rows, columns)


def _broadcast(a: Sequence[int], b: Sequence[int]) -> list[int]:
    size = max(len(a), len(b))
    padded = ([1] * (size - len(shape)) + list(shape) for shape in (a, b))
    return [max(pair) for pair in zip(*padded, strict=True)]


def load(path: Path, weights: bool) -> Any:
    """Read a model.

    Raises
    ------
    InputError
        If onnx is not installed, or the file is not a model.
    """
    onnx, inliner = need("onnx", EXTRA), need("onnx.inliner", EXTRA)
    try:
        model = onnx.load(str(path), load_external_data=weights)
        return inliner.inline_local_functions(model) if model.functions else model
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except Exception as error:  # protobuf's and the checker's own
        raise InputError(f"{path}: is no ONNX model: {error}") from error


def sites(model: Any) -> list[Site]:
    """Return the products of a model, in its order."""
    makers = {output: node for node in model.graph.node for output in node.output}
    weights = {tensor.name for tensor in model.graph.initializer}
    found, names = [], set()
    for node in model.graph.node:
        if node.op_type not in PRODUCTS:
            continue
        flags = {attribute.name: attribute.i for attribute in node.attribute}
        name = (node.name or node.output[0]).strip("/").replace("/", ".")
        while name in names:
            name += "_"
        names.add(name)
        a, b = node.input[:2]
        op = "qk"
        if any(_comes_from(x, makers, weights) for x in (a, b)):
            op = "linear"
        elif _comes_from(a, makers, set(), "Softmax"):
            op = "pv"
        turned_b = not flags.get("transB", 0)
        found.append(Site(name, op, a, b, bool(flags.get("transA", 0)), turned_b))
    return found


def left_out(model: Any) -> Counter[str]:
    """Count what multiplies matrices and is not read, by what it is.

    These are `OTHERS`, and products in the bodies of If, Loop and Scan, which run any number of
    times.
    """
    found = Counter(node.op_type for node in model.graph.node if node.op_type in OTHERS)
    for node in model.graph.node:
        for inner in _inside(node):
            if inner.op_type in OTHERS or inner.op_type in PRODUCTS:
                found[f"{inner.op_type} in the body of {node.op_type}"] += 1
    return found


def _inside(node: Any) -> Iterator[Any]:
    """Yield the nodes in the bodies of a node."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield inner
                yield from _inside(inner)


def _comes_from(
    name: str, makers: Mapping[str, Any], weights: set[str], operator: str = "Constant"
) -> bool:
    """Say whether a tensor is one of `weights`, or an operator's result, but for its layout."""
    for tensor in _origins(name, makers):
        if tensor in weights or (tensor in makers and makers[tensor].op_type == operator):
            return True
    return False


def _origins(name: str, makers: Mapping[str, Any]) -> Iterator[str]:
    """Yield a tensor and, as long as only its layout or its type changed, what it came from."""
    yield name
    while name in makers and makers[name].op_type in _SAME:
        node = makers[name]
        name = node.input[1] if node.op_type == "Where" else node.input[0]
        yield name


def onnx_layers(path: Path, batch: int, tokens: int) -> list[Layer]:
    """Return the GEMMs of a model by their shapes; no weight is read.

    Parameters
    ----------
    path : Path
        The model.
    batch, tokens : int
        What dimensions without a number stand for: the first of an input the batch, others the
        tokens.

    Raises
    ------
    InputError
        If a shape cannot be told, or there is no GEMM.
    """
    model = load(path, weights=False)
    others = left_out(model)
    if others:
        named = ", ".join(f"{count} {what}" for what, count in others.items())
        warnings.warn(f"{path}: only MatMul and Gemm are read; left out: {named}", stacklevel=2)
    shapes = _shapes(model, path, batch, tokens)
    found = []
    for site in sites(model):
        sizes = []
        for name in (site.a, site.b):
            if None in (shape := shapes.get(name, [None])):
                raise InputError(
                    f"{path}: the shape of {name!r}, an operand of {site.name!r}, cannot be told; "
                    "give the inputs fixed dimensions, or extract operands with --onnx"
                )
            sizes.append([int(size) for size in shape if size is not None])
        found.append(site.layer(*sizes))
    if not found:
        raise InputError(f"{path}: the model has no MatMul and no Gemm")
    return found


def _shapes(model: Any, path: Path, batch: int, tokens: int) -> dict[str, list[int | None]]:
    onnx = need("onnx", EXTRA)
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    for value in model.graph.input:
        for place, size in enumerate(value.type.tensor_type.shape.dim):
            if value.name not in weights and not size.dim_value:
                size.dim_value = tokens if place else batch
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # the library's own
        raise InputError(f"{path}: shapes cannot be told: {error}") from error
    values = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    return {
        value.name: [size.dim_value or None for size in value.type.tensor_type.shape.dim]
        for value in values
    } | weights
