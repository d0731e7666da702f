"""Linear layers that torchao quantized, for comparison."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, get_args

import torch
from torch import Tensor, nn

from accelsim.errors import InputError, UnsupportedError
from accelsim.integer_mode.replacing import ALL, Selection
from accelsim.plugins.extras import need

Scheme: TypeAlias = Literal[
    "int8-dynamic", "float8-dynamic", "float8-weight-only", "int4-weight-only"
]

SCHEMES = get_args(Scheme)

BITS = {name: 4 if name.startswith("int4") else 8 for name in SCHEMES}
"""Of an entry of a weight."""

_INT4: Any = getattr(torch, "int4", None)

INT4_GROUP = 32
"""Columns of a group of int4 weights."""


def _config(scheme: str) -> Any:
    """Return what torchao's `quantize_` takes."""
    made = need("torchao.quantization", "torchao")
    configs: dict[str, Callable[[], Any]] = {
        "int8-dynamic": made.Int8DynamicActivationInt8WeightConfig,
        "float8-dynamic": lambda: made.Float8DynamicActivationFloat8WeightConfig(
            granularity=made.PerRow()
        ),
        "float8-weight-only": made.Float8WeightOnlyConfig,
        # The config with int4 in its name needs a kernel library; this one has the same integers.
        "int4-weight-only": lambda: made.IntxWeightOnlyConfig(
            weight_dtype=_INT4, granularity=made.PerGroup(INT4_GROUP)
        ),
    }
    return configs[scheme]()


class TorchaoLayers:
    """Has torchao quantize the chosen linear layers of a model inside of the context.

    The floats of weights are kept, and are the same tensors again afterwards.

    Parameters
    ----------
    model : nn.Module
        Any model, in inference.
    scheme : str
        One of `SCHEMES`.
    selection : Selection
        Which layers; its ops are ``linear`` alone.

    Attributes
    ----------
    weight_bytes : int
        Of the weights that torchao made, scales included, while the context lasts and after it.
    """

    def __init__(self, model: nn.Module, scheme: str, selection: Selection = ALL) -> None:
        if tuple(selection.ops) != ("linear",):
            raise InputError("ops: torchao quantizes linear layers only")
        if model.training:
            raise InputError("torchao's layers are for inference; the model is in training mode")
        self._model, self._scheme, self._selection = model, scheme, selection
        self._weights: dict[nn.Module, nn.Parameter] = {}
        self.weight_bytes = 0

    def __enter__(self) -> Self:
        convert = need("torchao.quantization", "torchao").quantize_
        chosen = {
            module: name
            for name, module in self._model.named_modules()
            if isinstance(module, nn.Linear) and self._selection.wants_place(name, "linear")
        }
        self._weights = {module: module.get_parameter("weight") for module in chosen}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                convert(self._model, _config(self._scheme), lambda module, name: module in chosen)
        except (AssertionError, ImportError, RuntimeError, ValueError) as error:
            self._restore()
            raise UnsupportedError(f"torchao's {self._scheme}: {error}") from error
        left = [name for module, name in chosen.items() if type(module.weight.data) in (Tensor,)]
        if left:
            self._restore()
            raise UnsupportedError(
                f"torchao's {self._scheme} leaves {left[0]} and {len(left) - 1} more in floats"
            )
        self.weight_bytes = sum(
            stored_bytes(module.weight, BITS[self._scheme]) for module in chosen
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        for module, weight in self._weights.items():
            module._parameters["weight"] = weight
        self._weights = {}


def stored_bytes(weight: Any, bits: int) -> int:
    """Return the bytes of a weight that torchao made: its entries, packed, and their scales.

    Parameters
    ----------
    weight : Tensor
        Of a subclass that says of which tensors it is made.
    bits : int
        Of an entry.
    """
    names, _ = weight.__tensor_flatten__()
    parts = [getattr(weight, name) for name in names]
    return sum(
        part.numel() * bits // 8 if part.shape == weight.shape else part.nbytes for part in parts
    )
