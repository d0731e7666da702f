"""The entry ``model:`` of a config: the GEMMs of a whole model of the catalog."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from accelsim.errors import InputError
from accelsim.kernels.cache import cache_folder
from workloads.bundle import open_bundle
from workloads.capture import Sampling
from workloads.gemm import Gemm, select
from workloads.models.catalog import catalog, find
from workloads.models.extraction import check_space, estimate, extract
from workloads.models.layer import Layer
from workloads.models.onnx_graph import named, onnx_layers
from workloads.models.opening import open_model
from workloads.models.shapes import layer_gemms, shape_gemms
from workloads.models.text import read_text
from workloads.models.topology import read_topology
from workloads.paths import from_folder
from workloads.profile import SHIPPED_NAME, Profile, read_profile, shipped_profile
from workloads.sources import EntryError, WorkloadSource

Phase = Literal["forward", "grad_input", "grad_weight"]

FILES = (".csv", ".onnx")
"""Suffixes of files that have the shapes of a model's GEMMs."""

TOKENS = 256
"""What dimensions of an ONNX model's inputs without a number stand for."""

_COUNT = "a whole number, at least 1"

_VERSIONS = ("accelsim", "torch", "transformers", "gguf", "scikit-learn")
"""Packages that may change a model's operands: another version gives another file in the cache."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class ModelSource(WorkloadSource):
    """The GEMMs that a model of the catalog runs, or one of which a file has the shapes.

    They are captured when the config is loaded, and kept in the cache; the operands of shape-only
    models are drawn when they are needed. Either way one GEMM is in memory at a time.

    Parameters
    ----------
    model : str
        Its name in the catalog; or the path of a topology of SCALE-Sim (.csv) or of an ONNX model.
    phases : list of str
        Of `workloads.PHASES`; the forward pass by default.
    batch, tokens : int, optional
        How many sequences of how many tokens; what the catalog says by default.
    text : str, optional
        Path of the text that a language model reads.
    gemms : list of str
        Globs of names; all by default.
    rows, heads : int, optional
        Keep at most this many rows of A and of B, and this many of a batch, evenly spaced.
    profile : str, optional
        Path of the heavy hitters that synthetic operands get.
    plan : str, optional
        Path of the plan by which its GEMMs are rounded and unpacked.
    """

    key = "model"

    model: str = Field(
        description="the name of a model in the catalog, or the path of a .csv or .onnx file"
    )
    phases: Annotated[list[Phase], BeforeValidator(_as_list)] = Field(
        default=["forward"],
        min_length=1,
        description="a list of forward, grad_input and grad_weight",
    )
    batch: int | None = Field(default=None, ge=1, description=_COUNT)
    tokens: int | None = Field(default=None, ge=1, description=_COUNT)
    text: str | None = Field(default=None, description="the path of a UTF-8 text file")
    gemms: Annotated[list[str], BeforeValidator(_as_list)] = Field(
        default=["*"], min_length=1, description="a list of at least one glob, such as '*.qk'"
    )
    rows: int | None = Field(default=None, ge=1, description=_COUNT)
    heads: int | None = Field(default=None, ge=1, description=_COUNT)
    profile: str | None = Field(
        default=None, description="the path of a file that `accelsim workloads profile` wrote"
    )

    plan: str | None = Field(default=None, description="the path of a plan")

    def open(self, folder: Path) -> list[Gemm]:
        """Return the GEMMs; capture them first, if the cache does not have them."""
        sampling = Sampling(self.gemms, tuple(self.phases), self.rows, self.heads)
        every = replace(sampling, gemms=("*",))
        if Path(self.model).suffix in FILES:
            layers = self._layers(from_folder(folder, self.model))
            name = Path(self.model).stem
            return self._matching(layer_gemms(name, layers, self._profile(folder), every))
        entry = find(self.model)
        if entry.shapes is not None:
            batch, tokens = self.batch or entry.batch, self.tokens or entry.tokens
            profile = self._profile(folder)
            return self._matching(
                shape_gemms(self.model, entry.shapes, profile, batch, tokens, every)
            )
        if self.profile is not None:
            raise EntryError(
                f"the operands of {self.model} are real and follow no profile", "profile"
            )
        path = self._captured(folder, sampling)
        return self._matching(open_bundle(path).gemms)

    @property
    def drawn_from(self) -> str | None:
        """The profile that operands are drawn from; None if they are the model's own."""
        if Path(self.model).suffix not in FILES and find(self.model).shapes is None:
            return None
        return self.profile or SHIPPED_NAME

    def _profile(self, folder: Path) -> Profile:
        if self.profile is None:
            return shipped_profile()
        return read_profile(from_folder(folder, self.profile))

    def _layers(self, path: Path) -> list[Layer]:
        """Read the layers of a file, and refuse what does not go with it."""
        fixed: dict[str, object] = {"text": self.text}
        if path.suffix == ".csv":
            fixed |= {"batch": self.batch, "tokens": self.tokens}
        for key, value in fixed.items():
            if value is not None:
                raise EntryError(f"{path.name} has all its shapes: {key} changes nothing", key)
        if path.suffix == ".csv":
            return read_topology(path)
        layers, others = onnx_layers(path, self.batch or 1, self.tokens or TOKENS)
        if others:
            _say_once(f"{path}: only MatMul and Gemm are read{named(others)}")
        return layers

    def _matching(self, gemms: Sequence[Gemm]) -> list[Gemm]:
        for index, glob in enumerate(self.gemms):
            try:
                select(gemms, [glob], self.model)
            except InputError as error:
                raise EntryError(str(error), "gemms", index) from None
        return select(gemms, self.gemms, self.model)

    def _captured(self, folder: Path, sampling: Sampling) -> Path:
        text = read_text(from_folder(folder, self.text) if self.text else None)
        # A plan changes what is done with the operands, and nothing about them.
        entry = {key: value for key, value in self.to_record().items() if key != "plan"}
        facts = {
            "entry": {**entry, "text": text.source["text_sha256"]},
            "catalog": catalog()[self.model].model_dump(),
            "versions": {name: _version(name) for name in _VERSIONS},
        }
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        # The file's name is the workload's.
        path = cache_folder("models", key[:16]) / f"{self.model}.safetensors"
        if not path.exists():
            runnable = open_model(self.model, text, self.batch, self.tokens, _say)
            size = estimate(runnable, sampling)
            check_space(path, size.bytes)
            _say(f"capturing {size.gemms} GEMMs, {size.bytes / 1e9:.2f} GB, in {path}")
            extract(runnable, path, sampling)
        return path


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _say(message: str) -> None:
    print(f"accelsim: {message}", file=sys.stderr, flush=True)


@functools.cache
def _say_once(text: str) -> None:
    """Say what is true of a file, however often it is opened."""
    _say(text)
