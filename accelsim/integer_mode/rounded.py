"""Operands rounded to integers, and weights that are rounded once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from accelsim.arithmetic.rounding import Quantized
from accelsim.routes.execute import PreparedAhead
from accelsim.unpack import DigitSystem, IntegerOperand
from gemm_backends import GemmBackend


@dataclass(frozen=True)
class Rounded:
    """One operand of a GEMM as integers, with what is worked out from it alone.

    Parameters
    ----------
    quantized : Quantized
        The operand and its scale.
    is_weight : bool
        Whether it is kept for other GEMMs.
    """

    quantized: Quantized
    is_weight: bool = False

    @property
    def scale(self) -> float:
        """The scale, a float32 value."""
        return float(self.quantized.scale)

    @cached_property
    def integers(self) -> Tensor:
        """The integers in float32, which holds them exactly: they were rounded there."""
        return (self.quantized.operand * self.quantized.scale).round_()

    @cached_property
    def norms(self) -> Tensor:
        """An upper bound of the Euclidean norm of every row, float32 ``[..., rows]``."""
        rows = self.integers
        # A float32 sum of d squares and its root are off by less than (d + 2) units of 2^-23.
        norms: Tensor = torch.linalg.vector_norm(rows, dim=-1)
        return norms * (1 + (rows.shape[-1] + 2) * 2.0**-23)

    def digits(self, system: DigitSystem) -> IntegerOperand:
        """Return the operand as strategies take it; that of a weight is kept."""
        if not self.is_weight:
            return IntegerOperand(self.quantized, system)
        if system not in self._digits:
            self._digits[system] = IntegerOperand(self.quantized, system, prepared=True)
        return self._digits[system]

    def prepared(self, system: DigitSystem, backend: GemmBackend) -> PreparedAhead:
        """Return what knows the digits that `digits` has kept as the backend takes them."""
        kept = self.digits(system).kept if self.is_weight else []
        key = tuple(id(digits) for digits in kept)
        if self._prepared.get("key") != key:
            self._prepared.update(key=key, ahead=PreparedAhead(backend, kept))
        ahead: PreparedAhead = self._prepared["ahead"]
        return ahead

    @cached_property
    def _digits(self) -> dict[DigitSystem, IntegerOperand]:
        return {}

    @cached_property
    def _prepared(self) -> dict[str, Any]:
        return {}


class Weights:
    """A model's weights, each rounded once as long as no PyTorch operator writes to it.

    Parameters
    ----------
    model : nn.Module
        Its parameters and buffers, and their views, are what is kept.
    """

    def __init__(self, model: nn.Module) -> None:
        # A storage that is held here cannot give its address to another.
        self._storages = [x.untyped_storage() for x in (*model.parameters(), *model.buffers())]
        self._writes = {storage.data_ptr(): 0 for storage in self._storages}
        self._kept: dict[Any, tuple[Any, Rounded]] = {}

    def get(self, operand: Tensor, setting: Any, make: Callable[[bool], Rounded]) -> Rounded:
        """Return a rounded operand: one that is kept if it is a weight, else a new one.

        Parameters
        ----------
        operand : Tensor
            An operand of a GEMM.
        setting : hashable
            How it is rounded.
        make : callable
            Rounds it; is told whether the result will be kept.
        """
        address = _address(operand)
        if address not in self._writes:
            return make(False)
        key = address, operand.storage_offset(), operand.shape, operand.stride(), setting
        state = self._writes[address], _version(operand)
        known = self._kept.get(key)
        if known is None or known[0] != state:
            known = self._kept[key] = state, make(True)
        return known[1]

    def watch(self, func: Any, args: Any, kwargs: Any) -> None:
        """Notice an operator that is about to write to a weight, through whichever view."""
        if not func._schema.is_mutable:
            return
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Tensor) and (address := _address(tensor)) in self._writes:
                self._writes[address] += 1


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else int(tensor._version)
