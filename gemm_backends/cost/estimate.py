"""A figure with its basis."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Basis: TypeAlias = Literal["measured", "cited", "interpolated"]
"""The basis of a figure: synthesis of exactly this part, a publication, or interpolation."""


class Estimate(NamedTuple):
    """A figure and where it comes from."""

    value: float
    basis: Basis


def weakest(*bases: Basis) -> Basis:
    """Return the basis of a result that is computed from figures of these bases."""
    order: tuple[Basis, ...] = ("measured", "cited", "interpolated")
    return max(bases, key=order.index)
