"""The operands of an ONNX model's GEMMs, as onnxruntime computes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from accelsim.errors import InputError
from accelsim.plugins.extras import need
from workloads.gemm import Gemm, Operands, select
from workloads.models.onnx_graph import Site, load, sites
from workloads.models.onnx_operators import EXTRA, left_out

FLOATS = {"float32", "float16"}

ERRORS = 3
"""The least severe messages of onnxruntime that are shown."""

EXTERNAL_DATA = "session.model_external_initializers_file_folder_path"
"""onnxruntime's setting for the folder of a model's external data."""


def onnx_gemms(
    path: Path, inputs: Path, globs: Sequence[str] = ("*",)
) -> tuple[list[Gemm], Counter[str]]:
    """Run a model and return its GEMMs with their operands, and what was left out, by the reason.

    Parameters
    ----------
    path : Path
        The model.
    inputs : Path
        A .npz file with an array for each input of the model.
    globs : sequence of str
        Which GEMMs; all by default.

    Raises
    ------
    InputError
        If onnx or onnxruntime is not installed, inputs are missing or unknown, the model does not
        run, or it has no GEMM of floats of such a name.
    """
    model = load(path)
    products = sites(model)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays = _given(model, inputs, set(weights))
    values = {name: None for site in products for name in (site.a, site.b)} | arrays
    computed = sorted(name for name in values if name not in weights and name not in arrays)
    values |= _run(model, path, arrays, computed)
    values |= _read(path, [weights[name] for name in values if values[name] is None])
    gemms, skipped = [], Counter({f"{what} is not read": n for what, n in left_out(model).items()})
    for site in products:
        sides = values[site.a], values[site.b]
        types = {str(side.dtype) for side in sides} - FLOATS
        if types:
            skipped[f"operands of {' and '.join(sorted(types))}"] += 1
        elif not all(side.size for side in sides):
            skipped["operands without elements"] += 1
        else:
            gemms.append(_gemm(path.stem, site, *sides))
    if not gemms:
        found = "".join(f"; left out {count}: {why}" for why, count in skipped.items())
        raise InputError(
            f"{path}: the model has no MatMul and no Gemm of float32 or float16{found}"
        )
    return select(gemms, globs, path), skipped


def _given(model: Any, inputs: Path, weights: set[str]) -> dict[str, Any]:
    """Read the arrays of a .npz file, and see that they are the model's inputs.

    Inputs that have a value in the model need no array.
    """
    names = [value.name for value in model.graph.input]
    needed = [name for name in names if name not in weights]
    try:
        with np.load(inputs, allow_pickle=False) as file:
            arrays = dict(file)
    except Exception as error:  # those of zip files and of arrays, too
        raise InputError(f"{inputs}: is no .npz file of arrays: {error}") from error
    for name in (*needed, *arrays):
        if name not in arrays or name not in names:
            problem = "has no array" if name in names else "has an unknown array"
            raise InputError(
                f"{inputs}: {problem} {name!r}; the model's inputs are {', '.join(needed)}"
            )
    return arrays


def _run(model: Any, path: Path, arrays: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Run a model, and return the tensors of these names."""
    onnx, runtime = need("onnx", EXTRA), need("onnxruntime", EXTRA)
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    names_of_nodes = set()
    for node in model.graph.node:
        if node.name in names_of_nodes:
            node.ClearField("name")  # onnxruntime refuses names that appear twice
        names_of_nodes.add(node.name)
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = ERRORS
    options.add_session_config_entry(EXTERNAL_DATA, str(path.absolute().parent))
    try:
        session = runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        results = session.run(names or None, dict(arrays))
    except Exception as error:  # the library's own
        raise InputError(f"{path}: cannot be run: {error}") from error
    found = dict(zip(names, results, strict=bool(names)))
    for name, value in found.items():
        if not isinstance(value, np.ndarray):
            raise InputError(f"{path}: {name!r} is no dense tensor, which operands have to be")
    return found


def _read(path: Path, tensors: Sequence[Any]) -> dict[str, Any]:
    """Read weights, wherever they are stored."""
    to_array = need("onnx.numpy_helper", EXTRA).to_array
    try:
        return {tensor.name: to_array(tensor, str(path.absolute().parent)) for tensor in tensors}
    except Exception as error:  # the library's own
        raise InputError(f"{path}: its weights cannot be read: {error}") from error


def _gemm(workload: str, site: Site, a: Any, b: Any) -> Gemm:
    layer = site.layer(a.shape, b.shape)
    is_batched = site.op != "linear" or layer.batch > 1

    def operands() -> Operands:
        left, right = _operand(a, site.turned_a), _operand(b, site.turned_b)
        if not is_batched:
            return left.reshape(-1, layer.d), right.reshape(-1, layer.d)
        lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        return (
            left.expand(*lead, layer.n, layer.d).reshape(layer.batch, layer.n, layer.d),
            right.expand(*lead, layer.h, layer.d).reshape(layer.batch, layer.h, layer.d),
        )

    return Gemm(
        workload,
        layer.name,
        layer.op,
        layer.name,
        "forward",
        layer.batch,
        layer.n,
        layer.d,
        layer.h,
        load=operands,
        batched=is_batched,
    )


def _operand(values: Any, turned: bool) -> Tensor:
    tensor = torch.from_numpy(np.array(values))
    if tensor.ndim == 1:
        return tensor.unsqueeze(0)
    return (tensor.mT if turned else tensor).contiguous()
