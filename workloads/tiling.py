"""Captured operands repeated until they fill a larger shape, and rounded to another type."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from workloads.gemm import Gemm, Operands

FloatType: TypeAlias = Literal["float32", "float16", "bfloat16"]
FLOAT_TYPES = "float32, float16 or bfloat16"

Size: TypeAlias = Annotated[int, Field(ge=1, lt=2**31, description="a whole number, at least 1")]


class Tile(BaseModel):
    """The shape that the operands of every GEMM are repeated to fill.

    Parameters
    ----------
    n, d, h : int, optional
        A becomes ``[n, d]`` and B ``[h, d]``; a dimension that is left out keeps its size, n and h
        with the heads laid out as rows. At least one is given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    n: Size | None = None
    d: Size | None = None
    h: Size | None = None

    @model_validator(mode="after")
    def _not_empty(self) -> Tile:
        if self.n is self.d is self.h is None:
            raise ValueError("it needs at least one of n, d and h")
        return self

    def shape(self, gemm: Gemm) -> tuple[int, int, int]:
        """Return n, d and h of what a GEMM becomes.

        Parameters
        ----------
        gemm : Gemm
            Its sizes stand where the tile names none; heads count as rows.
        """
        return (
            gemm.batch * gemm.n if self.n is None else self.n,
            gemm.d if self.d is None else self.d,
            gemm.batch * gemm.h if self.h is None else self.h,
        )


def tiled(gemm: Gemm, tile: Tile) -> Gemm:
    """Return a GEMM whose operands are another's, rows and columns repeated to fill a shape.

    The heads of a batch are laid out as rows, one behind the other. So operands of real models
    keep their distribution, heavy rows and columns among it, at the size of a large model.

    Parameters
    ----------
    gemm : Gemm
        With at least one entry in each operand.
    tile : Tile
        The shape.
    """
    n, d, h = tile.shape(gemm)

    def load() -> Operands:
        a, b = gemm.load()
        return _filled(a, n, d), _filled(b, h, d)

    return replace(
        gemm,
        name=f"{gemm.name}@{n}x{d}x{h}",
        batch=1,
        n=n,
        d=d,
        h=h,
        load=load,
        batched=False,
        tensors=gemm.tensor_names,
    )


def in_type(gemm: Gemm, dtype: FloatType) -> Gemm:
    """Return a GEMM whose operands are rounded to a type when they are read."""
    wanted: torch.dtype = getattr(torch, dtype)

    def load() -> Operands:
        a, b = gemm.load()
        return a.to(wanted), b.to(wanted)

    return replace(gemm, load=load)


def _filled(x: Tensor, rows: int, columns: int) -> Tensor:
    matrix = x.reshape(-1, x.shape[-1])[:rows, :columns]
    times = -(-rows // matrix.shape[0]), -(-columns // matrix.shape[1])
    return matrix.repeat(times)[:rows, :columns].contiguous()
