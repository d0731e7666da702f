"""A model's weights, which are prepared once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch import Tensor, nn

from accelsim.integer_mode.checksum import checksum
from accelsim.types import PreparedOperand, Route, Side

_View: TypeAlias = tuple[Any, ...]
_State: TypeAlias = tuple[Any, ...]


@dataclass
class _Kept:
    """Cached results for one view of a weight, in one state of its memory.

    Parameters
    ----------
    state : tuple
        The state that identifies its values.
    prepared : dict
        The operand as routes took it, by their identity, and the routes themselves.
    """

    state: _State
    prepared: dict[tuple[int, Side], tuple[Route, PreparedOperand]] = field(default_factory=dict)


class Weights:
    """A model's weights, each prepared once as long as nothing writes to it.

    Operators that write to their memory are seen in the thread that runs them, through whatever
    view; PyTorch counts those of other threads; and on the CPU, where NumPy and others may write
    as well, a checksum of the values is compared in every use.

    Parameters
    ----------
    model : nn.Module
        Its parameters and buffers, and their views, are kept.
    """

    def __init__(self, model: nn.Module) -> None:
        storages = [x.untyped_storage() for x in (*model.parameters(), *model.buffers())]
        # The identity of a storage that is held here cannot be reused; its memory can.
        self._storages = {storage._cdata: storage for storage in storages}
        self._writes = {storage.data_ptr(): 0 for storage in storages}
        self._kept: dict[int, dict[_View, _Kept]] = {}

    def stays(self, operand: Tensor) -> bool:
        """Return whether an operand is a weight that is worth preparing.

        A tensor that was written to, as in training or in a cache of keys, is worth it from its
        second use without a write.
        """
        storage, address = operand.untyped_storage()._cdata, _address(operand)
        if storage not in self._storages or address not in self._writes:
            return False
        view, views = _view(operand), self._kept.setdefault(storage, {})
        writes = address, self._writes[address]
        sum_of_values = checksum(operand) if operand.device.type == "cpu" else None
        state = writes, _version(operand), sum_of_values
        if view in views and views[view].state == state:
            return True
        if any(kept.state[0] != writes for kept in views.values()):
            views.clear()
        views[view] = _Kept(state)
        return self._writes[address] == 0

    def prepared(self, operand: Tensor, side: Side, route: Route) -> PreparedOperand:
        """Return a weight as a route prepared it; `stays` has just said that it is worth it."""
        kept = self._kept[operand.untyped_storage()._cdata][_view(operand)].prepared
        known = kept.get((id(route), side))
        if known is None:
            known = kept[id(route), side] = route, route.prepare(side, operand)
        return known[1]

    def written(self, tensors: Iterable[Any]) -> None:
        """Notice an operator that is about to write to tensors, through whichever view of them."""
        for tensor in tensors:
            if isinstance(tensor, Tensor) and (address := _address(tensor)) in self._writes:
                self._writes[address] += 1


def _view(tensor: Tensor) -> _View:
    return tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else int(tensor._version)
