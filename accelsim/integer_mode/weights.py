"""A model's weights, which are prepared once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from accelsim.errors import DataError
from accelsim.integer_mode.checksum import checksum, checksum_there
from accelsim.types import PreparedOperand, Route, Side
from workloads.tracing.modes import is_fake

View: TypeAlias = tuple[Any, ...]
_State: TypeAlias = tuple[Any, ...]

SHARED_MEMORY = ("cpu",)
"""Devices to whose memory NumPy and others write: a checksum is compared in every use."""


@dataclass
class Kept:
    """Cached results for one view of a weight, in one state of its memory.

    Parameters
    ----------
    state : tuple
        The state that identifies its values.
    prepared : dict
        The operand as routes took it, by their identity, and the routes themselves.
    then : tuple of Tensor or None
        The view and its checksum when it was prepared, where that is compared at the end.
    """

    state: _State
    prepared: dict[tuple[int, Side], tuple[Route, PreparedOperand]] = field(default_factory=dict)
    then: tuple[Tensor, Tensor] | None = None


class Weights:
    """A model's weights, each prepared once as long as nothing writes to it.

    Operators that write to their memory are seen in the thread that runs them, through whatever
    view; PyTorch counts those of other threads; and on the CPU, where NumPy and others may write
    as well, a checksum of the values is compared in every use. On a GPU, where only kernels of the
    user's own go unseen, it is compared once, by `check`.

    Parameters
    ----------
    model : nn.Module
        Its parameters and buffers, and their views, are kept.
    """

    def __init__(self, model: nn.Module) -> None:
        tensors = [
            x for x in (*model.named_parameters(), *model.named_buffers()) if _has_memory(x[1])
        ]
        self._names = {x.untyped_storage()._cdata: name for name, x in tensors}
        storages = [x.untyped_storage() for _, x in tensors]
        # The identity of a storage that is held here cannot be reused; its memory can.
        self._storages = {storage._cdata: storage for storage in storages}
        self._writes = {storage.data_ptr(): 0 for storage in storages}
        self._kept: dict[int, dict[View, Kept]] = {}

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
        state = _state(operand, writes)
        if view in views and views[view].state == state:
            return True
        if any(kept.state[0] != writes for kept in views.values()):
            views.clear()
        views[view] = Kept(state)
        return self._writes[address] == 0

    def prepared(self, operand: Tensor, side: Side, route: Route) -> PreparedOperand:
        """Return a weight as a route prepared it; `stays` has just said that it is worth it."""
        kept = self._kept[operand.untyped_storage()._cdata][_view(operand)]
        known = kept.prepared.get((id(route), side))
        if known is None:
            known = kept.prepared[id(route), side] = route, route.prepare(side, operand)
            if kept.then is None and is_compared_at_the_end(operand):
                kept.then = operand.detach(), checksum_there(operand)
        return known[1]

    def kept(self, operand: Tensor) -> tuple[View, Kept]:
        """Return what is kept of a weight that was prepared, and for which view of its memory."""
        view = _view(operand)
        return view, self._kept[operand.untyped_storage()._cdata][view]

    def is_unchanged(self, operand: Tensor, view: View, kept: Kept) -> bool:
        """Whether a weight is still what was kept of it."""
        storage = operand.untyped_storage()
        address = storage.data_ptr()
        return (
            storage._cdata in self._storages
            and kept.state == _state(operand, (address, self._writes.get(address)))
            and view == _view(operand)
        )

    def check(self) -> None:
        """Compare the values of prepared weights with those that were prepared; wait for that.

        Raises
        ------
        DataError
            If some changed though no write to them was seen.
        """
        compared = [
            (self._names[storage], checksum_there(view) != checksum_then)
            for storage, views in self._kept.items()
            for kept in views.values()
            if kept.then is not None and self._is_as_it_was(kept)
            for view, checksum_then in [kept.then]
        ]
        for name, changed in compared:
            if bool(changed):
                raise DataError(
                    f"{name}: its values changed, and no write to them was seen, so that products "
                    "used what they had been; write to a weight by PyTorch's operators, or outside "
                    "of the context"
                )

    def _is_as_it_was(self, kept: Kept) -> bool:
        """Whether nothing was seen writing to a view since it was kept."""
        assert kept.then is not None
        view, address = kept.then[0], _address(kept.then[0])
        return kept.state[:2] == ((address, self._writes.get(address)), _version(view))

    def written(self, tensors: Iterable[Any]) -> None:
        """Notice an operator that is about to write to tensors, through whichever view of them."""
        for tensor in tensors:
            if not (isinstance(tensor, Tensor) and _has_memory(tensor)):
                continue
            address = _address(tensor)
            if address in self._writes:
                self._writes[address] += 1


def is_compared_at_the_end(tensor: Tensor) -> bool:
    """Whether nothing else sees what kernels of the user's own write to a tensor.

    Parameters
    ----------
    tensor : Tensor
        Such as a weight.
    """
    if tensor.device.type in (*SHARED_MEMORY, "meta"):
        return False
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())


def _view(tensor: Tensor) -> View:
    return tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def state_of(tensor: Tensor) -> tuple[int, int | None, int | None]:
    """Return what tells a tensor's values from others, as far as that is known without waiting.

    Parameters
    ----------
    tensor : Tensor
        On any device.

    Returns
    -------
    tuple
        The address of its memory, its version, and on the CPU a checksum.
    """
    sum_of_values = checksum(tensor) if tensor.device.type in SHARED_MEMORY else None
    return _address(tensor), _version(tensor), sum_of_values


def _state(tensor: Tensor, writes: tuple[int, int | None]) -> _State:
    return writes, *state_of(tensor)[1:]


def _has_memory(tensor: Tensor) -> bool:
    """Whether a tensor is a view of some memory; sparse ones, oneDNN's and fake ones are not."""
    return tensor.layout is torch.strided and not is_fake(tensor)


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else int(tensor._version)
