"""Synthetic GEMMs: normal entries, of which a chosen share are heavy hitters."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, TypeAlias

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from accelsim.errors import InputError
from accelsim.measure.memory import GIB, physical_memory
from workloads.gemm import Gemm, Operands

_DIMENSION = "a whole number, at least 0"

Dimension: TypeAlias = Annotated[int, Field(ge=0, lt=2**63, description=_DIMENSION)]


class HeavyHitters(BaseModel):
    """Which entries of both operands are large, and by how much.

    Parameters
    ----------
    fraction : float
        Share of entries (or of whole rows or columns) that are heavy, 0 to 1. Where it is positive
        at least one is; otherwise the count is rounded to the nearest.
    scale : float
        What heavy entries are multiplied by.
    where : {"scattered", "rows", "columns"}
        Single entries anywhere, whole rows (the same in every head), or whole columns (the same in
        every head, and the same for A and B).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    fraction: float = Field(ge=0, le=1, description="a number from 0 to 1")
    scale: float = Field(gt=0, le=1e30, description="a number above 0 and at most 1e30")
    where: Literal["scattered", "rows", "columns"] = Field(
        default="scattered", description="scattered, rows or columns"
    )


class Synthetic(BaseModel):
    """A GEMM with operands drawn from a standard normal distribution.

    The same options give the same values on every machine.

    Parameters
    ----------
    n, d, h : int
        A is ``[n, d]``, B is ``[h, d]``; 0 is allowed.
    batch : int, optional
        Gives both operands a leading dimension of this size.
    seed : int
        Of the random generator.
    heavy_hitters : HeavyHitters, optional
        None by default: plain normal operands.
    name : str, optional
        Of the GEMM; ``NxDxH`` by default, such as ``256x512x256``, with the batch in front.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    n: Dimension
    d: Dimension
    h: Dimension
    batch: Dimension | None = Field(default=None, description=_DIMENSION)
    seed: int = Field(
        default=0, ge=0, lt=2**64, description="a whole number, at least 0 and below 2^64"
    )
    heavy_hitters: HeavyHitters | None = Field(
        default=None, description="a mapping such as {fraction: 0.001, scale: 50}"
    )
    name: str | None = Field(default=None, min_length=1, description="text")

    def check_memory(self) -> None:
        """Refuse what this machine cannot hold: both operands in float32, and one as it is drawn.

        Raises
        ------
        InputError
            If its main memory is too small.
        """
        batch = 1 if self.batch is None else self.batch
        a, b = (batch * rows * self.d for rows in (self.n, self.h))
        needed, there = 4 * (a + b) + 8 * max(a, b), physical_memory()
        if needed > there:
            raise InputError(
                f"synthetic GEMM {self.gemm().name}: drawing its operands takes "
                f"{needed / GIB:,.1f} GiB, and this machine has {there / GIB:,.1f} GiB; "
                "choose a smaller n, d, h or batch"
            )

    def gemm(self) -> Gemm:
        """Return the GEMM; its operands are drawn each time they are loaded, in float32."""
        dimensions = (self.n, self.d, self.h)
        lead = () if self.batch is None else (self.batch,)
        return Gemm(
            workload="synthetic",
            name=self.name or "x".join(map(str, (*lead, *dimensions))),
            op="linear",
            layer="",
            phase="forward",
            batch=1 if self.batch is None else self.batch,
            n=self.n,
            d=self.d,
            h=self.h,
            load=partial(_draw, self),
            batched=self.batch is not None,
        )


def _draw(options: Synthetic) -> Operands:
    """Draw A, B and the places of their heavy hitters from streams of their own."""
    lead = () if options.batch is None else (options.batch,)
    options.check_memory()
    streams = [np.random.Generator(np.random.Philox(key=(options.seed, i))) for i in range(3)]
    columns = _chosen(streams[2], options.d, options.heavy_hitters)
    return (
        _operand(streams[0], (*lead, options.n, options.d), options.heavy_hitters, columns),
        _operand(streams[1], (*lead, options.h, options.d), options.heavy_hitters, columns),
    )


def _operand(
    stream: np.random.Generator,
    shape: tuple[int, ...],
    heavy: HeavyHitters | None,
    columns: np.ndarray,
) -> Tensor:
    # Drawn in float64: what the last bit of a machine's logarithm does is rounded away.
    values = stream.standard_normal(shape).astype(np.float32)
    if heavy is not None:
        scale = np.float32(heavy.scale)
        if heavy.where == "columns":
            values[..., columns] *= scale
        elif heavy.where == "rows":
            values[..., _chosen(stream, shape[-2], heavy), :] *= scale
        else:
            values.reshape(-1)[_chosen(stream, values.size, heavy)] *= scale
    return torch.from_numpy(values)


def _chosen(stream: np.random.Generator, total: int, heavy: HeavyHitters | None) -> np.ndarray:
    """Choose the heavy ones among `total` without replacement."""
    if heavy is None or heavy.fraction == 0 or total == 0:
        return np.empty(0, dtype=np.int64)
    return stream.choice(total, max(1, round(heavy.fraction * total)), replace=False)
