"""A model that is converted for a while, and then as it was before."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Self

from torch import nn

from accelsim.errors import InputError
from accelsim.integer_mode.converted.config import IntegerConfig
from accelsim.integer_mode.converted.conversion import Conversion, dequantize_, quantize_
from accelsim.integer_mode.replacing import Selection


class PreparedGemms:
    """Converts the chosen linear layers of a model inside of the context.

    The floats of weights are kept, and are the same tensors again afterwards.

    Parameters
    ----------
    model : nn.Module
        Any model. One that is in training mode rounds its weights in every step.
    config : IntegerConfig
        How operands are rounded.
    selection : Selection
        Which layers; its ops are ``linear`` alone.

    Attributes
    ----------
    conversion : Conversion or None
        Which layers were converted when the context was last entered.
    """

    def __init__(self, model: nn.Module, config: IntegerConfig, selection: Selection) -> None:
        if tuple(selection.ops) != ("linear",):
            raise InputError("ops: only those of linear layers have weights to prepare")
        self._model, self._config, self._selection = model, config, selection
        self._weights: dict[nn.Module, nn.Parameter] = {}
        self.conversion: Conversion | None = None

    def __enter__(self) -> Self:
        weights = {
            module: weight
            for module in self._model.modules()
            if (weight := module._parameters.get("weight")) is not None
        }
        config = replace(self._config, training=self._model.training)
        self.conversion = quantize_(
            self._model, config, lambda module, name: self._selection.wants_place(name, "linear")
        )
        self._weights = weights
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        dequantize_(self._model)
        for module, weight in self._weights.items():
            module._parameters["weight"] = weight
        self._weights = {}
