"""The GEMMs of an ONNX model: where they are, and their shapes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from accelsim.errors import InputError
from accelsim.plugins.extras import need
from workloads.models.layer import Layer
from workloads.models.onnx_folding import fold, forget_weights
from workloads.models.onnx_operators import (
    EXTRA,
    constants,
    is_product,
    left_out,
    probabilities,
)


@dataclass(frozen=True)
class Site:
    """A MatMul or Gemm.

    Parameters
    ----------
    name : str
        Of its node, or else of what it computes; unique.
    op : str
        ``linear`` where a side depends on no input, ``pv`` where A comes from a Softmax, else
        ``qk``.
    a, b : str
        Its inputs. Where the left one alone is a weight, that is B, and the product transposed.
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

        Raises
        ------
        InputError
            If these shapes have no product.
        """
        lead_a, n, d = _sizes(a, self.turned_a)
        lead_b, h, columns = _sizes(b, self.turned_b)
        batch = _broadcast(lead_a, lead_b)
        if d != columns or batch is None:
            sizes = " and ".join(str(list(shape)) for shape in (a, b))
            raise InputError(f"the operands of {self.name!r} do not match: {sizes}")
        if self.op == "linear" and min(math.prod(lead_a), math.prod(lead_b)) == 1:
            return Layer(self.name, self.op, 1, math.prod(lead_a) * n, d, math.prod(lead_b) * h)
        return Layer(self.name, self.op, math.prod(batch), n, d, h)


def _sizes(shape: Sequence[int], turned: bool) -> tuple[Sequence[int], int, int]:
    """Return the leading sizes, the rows and the columns; a vector is one row of either side."""
    if len(shape) == 1:
        return (), 1, shape[0]
    *lead, rows, columns = shape
    return (lead, columns, rows) if turned else (lead, rows, columns)


def _broadcast(a: Sequence[int], b: Sequence[int]) -> list[int] | None:
    """Return the common leading sizes, or None if there are none."""
    size = max(len(a), len(b))
    padded = ([1] * (size - len(shape)) + list(shape) for shape in (a, b))
    pairs = list(zip(*padded, strict=True))
    if any(x != y and 1 not in (x, y) for x, y in pairs):
        return None
    return [y if x == 1 else x for x, y in pairs]


def load(path: Path) -> Any:
    """Read a model without its external data, with its functions in the places of their calls.

    Raises
    ------
    InputError
        If onnx is not installed, or the file is not a model.
    """
    onnx, inliner = need("onnx", EXTRA), need("onnx.inliner", EXTRA)
    try:
        model = onnx.load(str(path), load_external_data=False)
        model = inliner.inline_local_functions(model) if model.functions else model
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except Exception as error:  # protobuf's and the checker's own
        raise InputError(f"{path}: is no ONNX model: {error}") from error
    if not model.HasField("graph") or not model.opset_import:
        raise InputError(f"{path}: is no ONNX model: it has no graph, or no version of operators")
    return model


def sites(model: Any) -> list[Site]:
    """Return the products of a model, in its order."""
    fixed = constants(model)
    from_softmax = probabilities(model, fixed)
    found, names = [], set()
    for node in filter(is_product, model.graph.node):
        flags = {attribute.name: attribute.i for attribute in node.attribute}
        given = (text.strip("/") for text in (node.name, node.output[0], node.op_type))
        name = next(filter(None, given)).replace("/", ".")
        while name in names:
            name += "_"
        names.add(name)
        a, b = node.input[:2]
        turned_a, turned_b = bool(flags.get("transA", 0)), not flags.get("transB", 0)
        if a in fixed and b not in fixed:
            a, b, turned_a, turned_b = b, a, turned_b, turned_a
        op = "linear" if b in fixed else "pv" if a in from_softmax else "qk"
        found.append(Site(name, op, a, b, turned_a, turned_b))
    return found


class Value(NamedTuple):
    """What is known of a tensor: its type, by ONNX's number, and its shape; None is unknown."""

    type: int
    shape: list[int | None] | None


def onnx_layers(path: Path, batch: int, tokens: int) -> tuple[list[Layer], Counter[str]]:
    """Return the GEMMs of a model by their shapes, and what is left out, by what it is.

    No weight is read. Products of integers, and those without an element, are left out.

    Parameters
    ----------
    path : Path
        The model.
    batch, tokens : int
        What dimensions of inputs without a number stand for: the first of an input the batch,
        others the tokens. A name that is used for both is the tokens.

    Raises
    ------
    InputError
        If a shape cannot be told, or there is no GEMM.
    """
    model = load(path)
    others = left_out(model)
    try:
        found = _layers(model, path, batch, tokens, others)
    except InputError as error:
        raise InputError(f"{error}{named(others)}") from error
    if not found:
        raise InputError(f"{path}: the model has no MatMul and no Gemm{named(others)}")
    return found, others


def named(others: Mapping[str, int]) -> str:
    """Say what is left out, as the end of a sentence; an empty text if nothing is."""
    return "; left out: " * bool(others) + ", ".join(f"{n} {what}" for what, n in others.items())


def _layers(model: Any, path: Path, batch: int, tokens: int, others: Counter[str]) -> list[Layer]:
    """Return the GEMMs, and count what is left out in addition."""
    products = sites(model)
    wanted = {name for site in products for name in (site.a, site.b)}
    values, float_types, found = _values(model, path, batch, tokens, wanted), _float_types(), []
    for site in products:
        left, right = (values.get(name, Value(0, None)) for name in (site.a, site.b))
        if left.type and left.type not in float_types:
            others[f"product of {_type_name(left.type)}"] += 1
            continue
        layer = _layer(path, site, left.shape, right.shape)
        if 0 in layer[2:]:
            others["product without elements"] += 1
        else:
            found.append(layer)
    return found


def _layer(
    path: Path, site: Site, a: Sequence[int | None] | None, b: Sequence[int | None] | None
) -> Layer:
    """Return the GEMM of a site, or say which of its shapes is not known."""
    sizes = []
    for name, shape in ((site.a, a), (site.b, b)):
        if not shape or None in shape:
            raise InputError(
                f"{path}: the shape of {name!r}, an operand of {site.name!r}, cannot be told; "
                "give the inputs fixed dimensions, or extract operands with --onnx"
            )
        sizes.append([size for size in shape if size is not None])
    try:
        return site.layer(*sizes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _float_types() -> set[int]:
    kinds = need("onnx", EXTRA).TensorProto
    return {kinds.FLOAT, kinds.FLOAT16, kinds.BFLOAT16, kinds.DOUBLE}


def _type_name(number: int) -> str:
    return str(need("onnx", EXTRA).TensorProto.DataType.Name(number)).lower()


def _values(model: Any, path: Path, batch: int, tokens: int, wanted: set[str]) -> dict[str, Value]:
    """Tell types and shapes of a model's tensors, above all of those that are wanted."""
    _fix_inputs(model, batch, tokens)
    forget_weights(model)
    found = _inferred(model, path)
    while not all(_is_known(found.get(name)) for name in wanted) and fold(
        model, {name: value.shape for name, value in found.items()}
    ):
        found = _inferred(model, path)
    return found


def _is_known(value: Value | None) -> bool:
    return value is not None and value.shape is not None and None not in value.shape


def _fix_inputs(model: Any, batch: int, tokens: int) -> None:
    """Give dimensions without a number one, and leave those of the outputs to be inferred."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    names = _names(inputs, batch, tokens)
    for value in inputs:
        for place, size in enumerate(value.type.tensor_type.shape.dim):
            if _size(size) is None:
                size.dim_value = names.get(size.dim_param, tokens if place else batch)
    for value in model.graph.value_info:
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in names:
                size.dim_value = names[size.dim_param]
    for value in model.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")


def _inferred(model: Any, path: Path) -> dict[str, Value]:
    """Infer types and shapes as ONNX does."""
    onnx = need("onnx", EXTRA)
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as error:  # the library's own
        raise InputError(f"{path}: shapes cannot be told: {error}") from error
    found = {
        value.name: _value(value.type.tensor_type)
        for value in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    }
    for tensor in model.graph.sparse_initializer:
        found[tensor.values.name] = Value(tensor.values.data_type, list(tensor.dims))
    for tensor in model.graph.initializer:
        found[tensor.name] = Value(tensor.data_type, list(tensor.dims))
    return found


def _names(inputs: Sequence[Any], batch: int, tokens: int) -> Mapping[str, int]:
    """Return what the names of the inputs' dimensions stand for."""
    found: dict[str, int] = {}
    for value in inputs:
        for place, size in enumerate(value.type.tensor_type.shape.dim):
            if size.dim_param and (place or size.dim_param not in found):
                found[size.dim_param] = tokens if place else batch
    return found


def _value(kind: Any) -> Value:
    """Read a tensor's type."""
    if not kind.HasField("shape"):
        return Value(kind.elem_type, None)
    return Value(kind.elem_type, [_size(size) for size in kind.shape.dim])


def _size(dimension: Any) -> int | None:
    """Read a dimension; some tools write a negative number where they know none."""
    is_known = dimension.HasField("dim_value") and dimension.dim_value >= 0
    return dimension.dim_value if is_known else None
