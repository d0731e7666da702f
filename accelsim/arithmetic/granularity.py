"""Granularities: which entries of an operand share a scale."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from torch import Tensor

from accelsim.errors import InputError, unknown_name


class Granularity(ABC):
    """Which entries share a scale. A row lies in one group: along K a scale would not factor out.

    Attributes
    ----------
    name : str
        The name by which configs know it.
    """

    name: ClassVar[str]

    @abstractmethod
    def groups(self, values: Tensor) -> Tensor:
        """Return ``[..., rows, d]`` as ``[groups, count]``, a group's entries side by side."""

    @abstractmethod
    def scale(self, per_group: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return ``[groups]`` scales in a shape that broadcasts against an operand's `shape`.

        Its last dimension, if it has any, is 1.
        """


class PerTensor(Granularity):
    """One scale for the tensor, all matrices of a batch together; it is a scalar."""

    name = "tensor"

    def groups(self, values: Tensor) -> Tensor:
        """Return all entries as one group."""
        return values.reshape(1, values.numel())

    def scale(self, per_group: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return a scalar."""
        return per_group.reshape(())


class PerRow(Granularity):
    """One scale for each row, as ``[..., rows, 1]``."""

    name = "row"

    def groups(self, values: Tensor) -> Tensor:
        """Return the rows of all matrices."""
        rows = values.shape[:-1].numel()
        return values.reshape(rows, values.shape[-1])

    def scale(self, per_group: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return ``[..., rows, 1]``."""
        return per_group.reshape(*shape[:-1], 1)


GRANULARITIES: Mapping[str, Granularity] = MappingProxyType(
    {granularity.name: granularity for granularity in (PerTensor(), PerRow())}
)
"""The granularities by name."""


def granularity_of(choice: str | Granularity) -> Granularity:
    """Return a granularity by its name, or the given object.

    Raises
    ------
    InputError
        If no granularity has that name.
    """
    if isinstance(choice, Granularity):
        return choice
    if choice not in GRANULARITIES:
        raise InputError(unknown_name("granularity", choice, tuple(GRANULARITIES)))
    return GRANULARITIES[choice]


def row_scales(scale: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the scale of every row of an operand: ``[..., rows]``, as a view if it can be."""
    return scale.expand(*shape[:-1], 1).squeeze(-1)


def along_columns(scale: Tensor) -> Tensor:
    """Return the scale of B as it lies along the columns of ``A @ B.T``: ``[..., 1, rows of B]``.

    The scale of A lies along the product's rows as it is.
    """
    return scale.reshape(*scale.shape[:-2], 1, -1)
