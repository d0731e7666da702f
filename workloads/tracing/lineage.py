"""The origin of a tensor: weights alone, or a softmax."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from workloads.tracing.facts import facts_of
from workloads.tracing.operators import gathers, is_softmax

Identity: TypeAlias = tuple[int, int]
"""A storage and an offset in it: what two tensors of the same memory have in common."""


@dataclass(frozen=True)
class Origin:
    """The origin of a storage's values.

    Parameters
    ----------
    weight : bool
        Of weights alone.
    product : bool
        Of a product of weights.
    probabilities : bool
        Of a softmax, entry by entry.
    lasting : bool
        Whatever is written to it: an optimizer's step leaves a parameter a weight.
    """

    weight: bool = False
    product: bool = False
    probabilities: bool = False
    lasting: bool = False

    @property
    def bits(self) -> int:
        """What its values descend from as a number; 0 for nothing."""
        return self.weight | self.product << 1 | self.probabilities << 2


_NONE = Origin()


class Lineage:
    """Follows values through the operators that are not GEMMs.

    Storages are identified by weak references, which keep the identity of a storage from being
    reused, but not its memory.
    """

    def __init__(self) -> None:
        self._origins: dict[int, tuple[StorageWeakRef, Origin]] = {}
        self._purge_at = 1024
        self._listener: Callable[[int, int], None] = _ignore

    def listen(self, listener: Callable[[int, int], None] | None) -> None:
        """Have a function told of every storage, and the bits of its origin, from now on."""
        self._listener = listener or _ignore
        for storage, (_, origin) in self._origins.items():
            self._listener(storage, origin.bits)

    def of(self, tensor: Tensor) -> Origin:
        """Return the known origin of a tensor."""
        key = _storage(tensor)
        known = None if key is None else self._origins.get(key._cdata)
        return _NONE if known is None else known[1]

    def mark(self, tensor: Tensor, origin: Origin) -> None:
        """Record the origin of a tensor and of every view of it."""
        storage = _storage(tensor)
        if storage is None:
            return
        if len(self._origins) >= self._purge_at:
            for key in [k for k, v in self._origins.items() if _gone(v[0])]:
                self._listener(key, 0)
                del self._origins[key]
            self._purge_at = max(1024, 2 * len(self._origins))
        self._origins[storage._cdata] = (_reference(storage), origin)
        self._listener(storage._cdata, origin.bits)

    def knows(self, args: Any) -> bool:
        """Whether anything is known of one of an operator's arguments; lists count as known."""
        origins = self._origins
        for value in args:
            if isinstance(value, Tensor):
                storage = _storage(value)
                if storage is not None and storage._cdata in origins:
                    return True
            elif isinstance(value, list | tuple):
                return True
        return False

    def follow(self, func: Any, args: Any, result: Any) -> None:
        """Carry the origins of an operator's arguments over to its result."""
        if isinstance(result, tuple) and result:  # such as dropout's result and its mask
            result = result[0]
        if not isinstance(result, Tensor) or facts_of(func).is_view:
            return
        if is_softmax(func):
            self.mark(result, Origin(probabilities=True))
            return
        tensors = [*_tensors(args)]
        origins = [self.of(tensor) for tensor in tensors]
        if all(origin is _NONE for origin in origins):
            return
        if self.of(result).lasting:
            return
        joined = Origin(
            weight=all(origin.weight for origin in origins)
            or (origins[0].weight and _gathers_matrices(func, tensors[0], result)),
            product=any(origin.product for origin in origins),
            probabilities=any(
                origin.probabilities
                for tensor, origin in zip(tensors, origins, strict=True)
                if tensor.numel() == result.numel() or func.overloadpacket is torch.ops.aten.cat
            ),
        )
        if joined != _NONE or self.of(result) is not _NONE:
            self.mark(result, joined)


def _gathers_matrices(func: Any, source: Tensor, result: Tensor) -> bool:
    """Whether whole matrices are taken out of a stack of them, as experts are, and not rows."""
    return gathers(func) and source.ndim >= 3 and source.shape[-2:] == result.shape[-2:]


def _ignore(storage: int, origin: int) -> None:
    """Nobody wants to know."""


def identity(tensor: Tensor) -> tuple[Identity, StorageWeakRef] | None:
    """Return what identifies a tensor's memory as long as the reference is kept."""
    storage = _storage(tensor)
    if storage is None:
        return None
    return (storage._cdata, int(tensor.storage_offset())), _reference(storage)


def _reference(storage: Any) -> StorageWeakRef:
    return StorageWeakRef(storage)  # type: ignore[no-untyped-call]


def _gone(reference: StorageWeakRef) -> bool:
    return bool(reference.expired())  # type: ignore[no-untyped-call]


def _storage(tensor: Tensor) -> Any:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # a sparse or an opaque tensor has none
        return None


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
