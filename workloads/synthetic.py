"""Synthetic GEMMs: normal entries, of which a chosen share are heavy hitters."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal, TypeAlias

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from accelsim.errors import InputError
from accelsim.measure.memory import GIB, physical_memory
from workloads.gemm import Gemm, Operands
from workloads.tiling import FLOAT_TYPES, FloatType, in_type

_DIMENSION = "a whole number, at least 0"

Factor: TypeAlias = Annotated[float, Field(gt=0, le=1e30)]

Dimension: TypeAlias = Annotated[int, Field(ge=0, lt=2**63, description=_DIMENSION)]


class HeavyHitters(BaseModel):
    """The entries of both operands that are large, and their factors.

    Parameters
    ----------
    fraction : float
        Share of entries (or of whole rows or columns) that are heavy, 0 to 1. Where it is positive
        at least one is; otherwise the count is rounded to the nearest.
    scale : float or pair of float
        What heavy entries are multiplied by: one number, or the limits between which a factor is
        drawn (uniformly) for every heavy entry, row or column.
    where : {"scattered", "rows", "columns"}
        Single entries anywhere, whole rows (the same in every head), or whole columns (the same in
        every head, and the same for A and B).
    side : {"both", "a", "b"}
        Which operand has them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    fraction: float = Field(ge=0, le=1, description="a number from 0 to 1")
    scale: Factor | tuple[Factor, Factor] = Field(
        description="a number above 0 and at most 1e30, or a list of two, the smaller first"
    )
    where: Literal["scattered", "rows", "columns"] = Field(
        default="scattered", description="scattered, rows or columns"
    )
    side: Literal["both", "a", "b"] = Field(default="both", description="both, a or b")

    @field_validator("scale", mode="before")
    @classmethod
    def _as_pair(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("scale")
    @classmethod
    def _in_order(cls, value: float | tuple[float, float]) -> float | tuple[float, float]:
        if isinstance(value, tuple) and value[0] > value[1]:
            raise PydanticCustomError("order", "expected the smaller number first")
        return value

    def factors(self, stream: np.random.Generator, count: int) -> np.ndarray:
        """Draw the factors of `count` heavy entries, rows or columns, float32.

        Parameters
        ----------
        stream : random.Generator
            Where random numbers come from.
        count : int
            How many factors.

        Returns
        -------
        ndarray
            float32, `count` of them.
        """
        low, high = self.scale if isinstance(self.scale, tuple) else (self.scale, self.scale)
        if low == high:
            return np.full(count, low, dtype=np.float32)
        return stream.uniform(low, high, count).astype(np.float32)


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
    dtype : {"float32", "float16", "bfloat16"}
        What the operands are rounded to.
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
    dtype: FloatType = Field(default="float32", description=FLOAT_TYPES)
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
        """Return the GEMM; its operands are drawn each time they are loaded."""
        dimensions = (self.n, self.d, self.h)
        lead = () if self.batch is None else (self.batch,)
        gemm = Gemm(
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
        return gemm if self.dtype == "float32" else in_type(gemm, self.dtype)


def _draw(options: Synthetic) -> Operands:
    """Draw A, B and the places of their heavy hitters from streams of their own."""
    lead = () if options.batch is None else (options.batch,)
    options.check_memory()
    keys = np.array([(options.seed, i) for i in range(3)], dtype=np.uint64)
    streams = [np.random.Generator(np.random.Philox(key=key)) for key in keys]
    heavy = options.heavy_hitters
    columns = _chosen(streams[2], options.d, heavy)
    a, b = (
        _operand(
            stream,
            (*lead, rows, options.d),
            heavy if heavy and heavy.side in ("both", side) else None,
            columns,
        )
        for stream, rows, side in zip(streams, (options.n, options.h), "ab", strict=False)
    )
    return a, b


def _operand(
    stream: np.random.Generator,
    shape: tuple[int, ...],
    heavy: HeavyHitters | None,
    columns: np.ndarray,
) -> Tensor:
    # Drawn in float64: what the last bit of a machine's logarithm does is rounded away.
    values = stream.standard_normal(shape).astype(np.float32)
    if heavy is not None and heavy.where == "columns":
        values[..., columns] *= heavy.factors(stream, len(columns))
    elif heavy is not None and heavy.where == "rows":
        rows = _chosen(stream, shape[-2], heavy)
        values[..., rows, :] *= heavy.factors(stream, len(rows))[:, None]
    elif heavy is not None:
        places = _chosen(stream, values.size, heavy)
        values.reshape(-1)[places] *= heavy.factors(stream, len(places))
    return torch.from_numpy(values)


def _chosen(stream: np.random.Generator, total: int, heavy: HeavyHitters | None) -> np.ndarray:
    """Choose the heavy ones among `total` without replacement."""
    if heavy is None or heavy.fraction == 0 or total == 0:
        return np.empty(0, dtype=np.int64)
    return stream.choice(total, max(1, round(heavy.fraction * total)), replace=False)
