"""The GEMMs of a model by name and size, without their operands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from accelsim.errors import InputError
from workloads.capture import Capture, Captured, Sampling
from workloads.gemm import Gemm, Operands
from workloads.models.catalog import find
from workloads.models.opening import open_folder, open_model
from workloads.models.source import ModelSource
from workloads.models.text import read_text


def model_gemms(model: str, say: Callable[[str], None]) -> Sequence[Gemm]:
    """Return the GEMMs of a model's forward pass; only those of shape-only models have operands.

    A model with weights runs once, on the batch and the tokens that the catalog says.

    Parameters
    ----------
    model : str
        A name in the catalog, or a local Hugging Face folder.
    say : callable
        Called with what is being done.

    Raises
    ------
    InputError
        If there is no such model.
    """
    if Path(model).is_dir():
        runnable = open_folder(Path(model), None, read_text(None), None, None)
    elif find(model).shapes is not None:
        return ModelSource(model=model).open(Path())
    else:
        runnable = open_model(model, say=say)
    with Capture(runnable.model, None, Sampling()) as seen:
        runnable.run(False)
    return [_without_operands(Path(model).name, captured) for captured in seen.gemms]


def _without_operands(workload: str, captured: Captured) -> Gemm:
    what = captured.described
    (*batch, n, d), h = captured.a, captured.b[-2]

    def load() -> Operands:
        raise InputError(f"{what.name}: its operands were not kept; use accelsim extract")

    kind = (what.op, what.layer, what.phase, math.prod(batch), n, d, h)
    return Gemm(workload, what.name, *kind, load, batched=bool(batch))
