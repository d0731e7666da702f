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
from workloads.models.onnx_graph import EXTRA, Site, left_out, load, sites

FLOATS = {"float32", "float16"}


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
    model = load(path, weights=True)
    weights = {tensor.name for tensor in model.graph.initializer}
    wanted = {name for site in sites(model) for name in (site.a, site.b)}
    values = _run(model, path, _given(model, inputs, weights), sorted(wanted - weights))
    numpy_helper = need("onnx.numpy_helper", EXTRA)
    for tensor in model.graph.initializer:
        if tensor.name in wanted:
            values[tensor.name] = numpy_helper.to_array(tensor)
    gemms, skipped = [], Counter({f"{what} is not read": n for what, n in left_out(model).items()})
    for site in sites(model):
        types = {str(values[name].dtype) for name in (site.a, site.b)} - FLOATS
        if types:
            skipped[f"operands of {' and '.join(sorted(types))}"] += 1
        else:
            gemms.append(_gemm(path.stem, site, values[site.a], values[site.b]))
    if not gemms:
        found = "".join(f"; left out {count}: {why}" for why, count in skipped.items())
        raise InputError(
            f"{path}: the model has no MatMul and no Gemm of float32 or float16{found}"
        )
    return select(gemms, globs, path), skipped


def _given(model: Any, inputs: Path, weights: set[str]) -> dict[str, Any]:
    """Read the arrays of a .npz file, and see that they are the model's inputs."""
    names = [value.name for value in model.graph.input if value.name not in weights]
    try:
        with np.load(inputs, allow_pickle=False) as file:
            arrays = dict(file)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{inputs}: is no .npz file of arrays: {error}") from error
    for name in (*names, *arrays):
        if (name in arrays) != (name in names):
            problem = "has no array" if name in names else "has an unknown array"
            raise InputError(
                f"{inputs}: {problem} {name!r}; the model's inputs are {', '.join(names)}"
            )
    return arrays


def _run(model: Any, path: Path, arrays: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Run a model with these tensors as its outputs."""
    onnx, runtime = need("onnx", EXTRA), need("onnxruntime", EXTRA)
    values = {name: arrays[name] for name in names if name in arrays}
    outputs = [name for name in names if name not in arrays]
    known = {value.name for value in model.graph.output}
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in outputs if name not in known
    )
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = session.run(outputs, dict(arrays)) if outputs else []
    except Exception as error:  # the library's own
        raise InputError(f"{path}: cannot be run: {error}") from error
    return values | dict(zip(outputs, found, strict=True))


def _gemm(workload: str, site: Site, a: Any, b: Any) -> Gemm:
    layer = site.layer(a.shape, b.shape)
    is_batched = site.op != "linear" or layer.batch > 1

    def operands() -> Operands:
        left = _operand(a, site.turned_a, 0)
        right = _operand(b, site.turned_b, 1)
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


def _operand(values: Any, turned: bool, place: int) -> Tensor:
    tensor = torch.from_numpy(np.array(values))
    if tensor.ndim == 1:
        tensor = tensor.unsqueeze(place)
    return (tensor.mT if turned else tensor).contiguous()
