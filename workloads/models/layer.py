"""A GEMM of a model of which only the shape is known."""

from __future__ import annotations

from typing import NamedTuple


class Layer(NamedTuple):
    """One product of the forward pass: A is ``[batch, n, d]``, B is ``[batch, h, d]``."""

    name: str
    op: str
    batch: int
    n: int
    d: int
    h: int
