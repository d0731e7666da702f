"""Captured operands repeated until they fill a larger shape, and rounded to another type."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from workloads.gemm import Gemm, Operands

FloatType: TypeAlias = Literal["float32", "float16", "bfloat16"]
FLOAT_TYPES = "float32, float16 or bfloat16"

Size: TypeAlias = Annotated[int, Field(ge=1, lt=2**31, description="a whole number, at least 1")]


class Tile(BaseModel):
    """The shape that the operands of every GEMM are repeated to fill.

    Parameters
    ----------
    n, d, h : int
        A becomes ``[n, d]`` and B ``[h, d]``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    n: Size
    d: Size
    h: Size


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

    def load() -> Operands:
        a, b = gemm.load()
        return _filled(a, tile.n, tile.d), _filled(b, tile.h, tile.d)

    return replace(
        gemm,
        name=f"{gemm.name}@{tile.n}x{tile.d}x{tile.h}",
        batch=1,
        n=tile.n,
        d=tile.d,
        h=tile.h,
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
