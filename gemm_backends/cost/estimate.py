"""A figure with its standing."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Basis: TypeAlias = Literal["measured", "cited", "interpolated"]
"""Where a figure comes from: synthesis of this very part, a publication, or between such two."""


class Estimate(NamedTuple):
    """A figure and where it comes from."""

    value: float
    basis: Basis


def weakest(*bases: Basis) -> Basis:
    """Return the standing of what is computed from figures of these."""
    order: tuple[Basis, ...] = ("measured", "cited", "interpolated")
    return max(bases, key=order.index)
