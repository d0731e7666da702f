"""The linear layers of converted models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from accelsim.errors import DataError, InputError
from accelsim.integer_mode.converted.digits import NAMES, StoredWeight
from accelsim.integer_mode.converted.format import FORMAT, described, verified
from accelsim.integer_mode.converted.operators import exact_linear, exact_matmul


class Exact(nn.Module, ABC):
    """A linear layer that was converted in place: the module itself, with another class.

    Attributes
    ----------
    in_features, out_features : int
        Columns and rows of the weight.
    place : str
        The layer's name in the model, for messages.
    settings : str
        What `IntegerConfig.to_json` gave.
    original : type
        The class that the module had, and has again after `accelsim.dequantize_`.
    transposed : bool
        Whether that class has its weight as ``[in_features, out_features]``.
    kept_dtype : torch.dtype
        The type of the weight before.
    """

    in_features: int
    out_features: int
    place: str
    settings: str
    original: type[nn.Module]
    transposed: bool
    kept_dtype: torch.dtype
    bias: nn.Parameter | None

    @abstractmethod
    def float_weight(self) -> Tensor:
        """Return the weight in floats, ``[out_features, in_features]``."""

    @abstractmethod
    def product(self, x: Tensor) -> Tensor:
        """Return the product with the weight."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x @ weight.T + bias``, the product exact and rounded once to the type of `x`."""
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        if torch.compiler.is_compiling():
            y = self.product(x)
        else:
            try:
                y = self.product(x)
            except (DataError, InputError) as error:
                raise type(error)(f"{self.place}: {error}") from error
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def extra_repr(self) -> str:
        """Describe the layer."""
        bias = self.bias is not None
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={bias}"


class ExactLinear(Exact):
    """A linear layer whose weight was rounded, once, and is kept as digits."""

    def take_weight(self, weight: StoredWeight) -> None:
        """Have the tensors of a weight as buffers instead of its floats."""
        del self._parameters["weight"]
        for name, tensor in weight.tensors.items():
            self.register_buffer(name, tensor)
        about = torch.empty(0, dtype=torch.uint8, device=weight.digits.device)
        self.register_buffer(FORMAT, about)

    def drop_weight(self) -> None:
        """Let go of those buffers."""
        for name in (*NAMES, FORMAT):
            delattr(self, name)

    @property
    def stored(self) -> StoredWeight:
        """The weight."""
        return StoredWeight(*(self._buffers[name] for name in NAMES))  # type: ignore[arg-type]

    def product(self, x: Tensor) -> Tensor:
        """Return the product with the weight."""
        if x.shape[-1] != self.in_features:
            raise InputError(
                f"found an input {[*x.shape]}; expected {self.in_features} in its last dimension"
            )
        y: Tensor = exact_linear(x, *(self._buffers[name] for name in NAMES), self.settings)
        return y

    def float_weight(self) -> Tensor:
        """Return what the integers stand for, ``[out_features, in_features]`` float32."""
        return self.stored.floats(self.in_features)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        # Scales are moved as bits, so that `half` and the like leave them as they are.
        scale = self._buffers["weight_scale"]
        assert scale is not None
        bits = scale.view(torch.int32)
        if fn(bits).dtype != torch.int32:
            raise InputError(f"{self.place}: the digits of a weight can't be cast to another type")
        self._buffers["weight_scale"] = bits
        result = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        moved = self._buffers["weight_scale"]
        assert moved is not None
        self._buffers["weight_scale"] = moved.view(torch.float32)
        return result

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        known = self._buffers[FORMAT]
        if known is not None and not known.numel() and not known.is_meta:
            self._buffers[FORMAT] = described(self.stored, self.settings).to(known.device)
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        names = (*NAMES, FORMAT)
        found = {name: state_dict.get(prefix + name) for name in names}
        if found["weight"] is not None:
            weight = verified(found, self.settings, (self.out_features, self.in_features), prefix)
            for name in names:
                given = weight[name]
                # What is loaded has sizes of its own; `super` copies into them, or takes it.
                old = self._buffers[name]
                assert old is not None
                where = given.device if old.is_meta else old.device
                self._buffers[name] = torch.empty_like(given, device=where)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class ExactTrainingLinear(Exact):
    """A linear layer that keeps its float weight and rounds it in every step."""

    weight: Tensor

    def product(self, x: Tensor) -> Tensor:
        """Return the product with the weight."""
        weight = self.float_weight()
        if torch.is_autocast_enabled(x.device.type):
            weight = weight.to(torch.get_autocast_dtype(x.device.type))
        rows = x.reshape(-1, self.in_features)
        result: Tensor = exact_matmul(rows, weight, "activations", "weights", self.settings)
        return result.reshape(*x.shape[:-1], self.out_features)

    def float_weight(self) -> Tensor:
        """Return the weight, ``[out_features, in_features]``."""
        return self.weight.T if self.transposed else self.weight
