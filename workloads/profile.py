"""Heavy hitters measured on real operands, so that synthetic operands can have the same.

Heavy hitters of real operands lie in few rows and columns, and it is the largest entry of a row or
column that decides how often it is unpacked. So rows and columns are ranked by their root mean
square and put into classes (`LINES`), and the magnitudes of every class of rows in every class of
columns have quantiles of their own (`TAILS`).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from accelsim.arithmetic.rounding import check_type
from accelsim.errors import InputError
from workloads.gemm import Gemm
from workloads.roles import role_of

FORMAT = 2
"""Version of the file. The first had no classes of rows and columns."""

LINES = (0, 0.002, 0.01, 0.03, 0.1, 0.3, 0.6, 1)
"""The shares of rows, and of columns, at which a class ends; the heaviest come first."""

TAILS = (0, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 1)
"""The shares of the largest entries at whose end a quantile is measured; 0 is the largest entry."""

SHIPPED = Path(__file__).parent / "data" / "heavy-hitters.json"
SHIPPED_NAME = "that of SmolLM2-135M, which ships"
"""What messages call the shipped profile."""

CLASSES = len(LINES) - 1

Array: TypeAlias = npt.NDArray[np.float64]

Quantiles: TypeAlias = Annotated[
    tuple[Annotated[float, Field(ge=0)], ...],
    Field(min_length=len(TAILS), max_length=len(TAILS)),
]

_PerColumns: TypeAlias = Annotated[
    tuple[Quantiles, ...], Field(min_length=CLASSES, max_length=CLASSES)
]


class OperandProfile(BaseModel):
    """The distribution of the magnitudes of an operand.

    Parameters
    ----------
    cells : tuple of tuple of tuple of float
        For a class of rows and a class of columns the magnitudes that the shares `TAILS` of the
        entries reach, over the operand's α_95; not rising.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    cells: Annotated[tuple[_PerColumns, ...], Field(min_length=CLASSES, max_length=CLASSES)]

    @field_validator("cells")
    @classmethod
    def _not_rising(cls, cells: tuple[_PerColumns, ...]) -> tuple[_PerColumns, ...]:
        if np.any(np.diff(np.array(cells)) > 0):
            raise ValueError("quantiles rise, and those of larger shares of entries are smaller")
        return cells


Profile: TypeAlias = Mapping[str, OperandProfile]
"""Profiles by ``op/phase/side``, and by ``op/phase/side/role`` for the roles that are known."""


def bounds(lines: int) -> list[int]:
    """Return where each class of `lines` ranked rows or columns starts, and where the last ends."""
    return [int(share * lines + 0.5) for share in LINES]


def measure(gemms: Iterable[Gemm]) -> dict[str, OperandProfile]:
    """Measure the operands of GEMMs; those of one op and phase, and of one role, share a profile.

    Parameters
    ----------
    gemms : iterable of Gemm
        Loaded one at a time; a matrix whose α_95 is 0 is left out.

    Returns
    -------
    dict
        The means over GEMMs, of which a batch has the mean over its matrices.
    """
    found: dict[str, list[Array]] = defaultdict(list)
    for gemm in gemms:
        for side, operand in zip("ab", gemm.load(), strict=True):
            check_type(operand, gemm.where(side))
            values = operand.abs().float().numpy()
            matrices = values if values.ndim == 3 else values[None]
            measured = [cells for cells in map(_measured, matrices) if cells is not None]
            if measured:
                for key in keys(gemm.op, gemm.phase, side, gemm.name):
                    found[key].append(_mean(measured))
    return {key: _profile(_mean(measured)) for key, measured in sorted(found.items())}


def keys(op: str, phase: str, side: str, name: str) -> list[str]:
    """Return the keys of the profiles that an operand of a GEMM may have, the nearest first."""
    role = role_of(name) if op == "linear" else None
    general = f"{op}/{phase}/{side}"
    return [general] if role is None else [f"{general}/{role}", general]


def find(profile: Profile, op: str, phase: str, side: str, name: str) -> OperandProfile:
    """Return the profile of an operand: that of its layer's role, or of all of its op and phase.

    Raises
    ------
    InputError
        If there is neither.
    """
    wanted = keys(op, phase, side, name)
    for key in wanted:
        if key in profile:
            return profile[key]
    raise InputError(
        f"the profile has no {wanted[-1]}, which {name} needs (it has: {', '.join(profile)}); "
        "measure one on a bundle with such GEMMs: accelsim workloads profile BUNDLE -o FILE"
    )


def _measured(matrix: npt.NDArray[np.float32]) -> Array | None:
    """Return the quantiles of each cell over α_95, NaN where no row or no column is of a class."""
    if not matrix.size:
        return None
    (center,) = _largest(matrix, (0.05,))
    if center == 0:
        return None
    squares = np.square(matrix, dtype=np.float64)
    ranked = matrix[np.argsort(-squares.mean(1), kind="stable")]
    ranked = ranked[:, np.argsort(-squares.mean(0), kind="stable")]
    cells = np.full((CLASSES, CLASSES, len(TAILS)), np.nan)
    rows, columns = (list(pairwise(bounds(lines))) for lines in matrix.shape)
    for i, (top, bottom) in enumerate(rows):
        for j, (left, right) in enumerate(columns):
            if top < bottom and left < right:
                cells[i, j] = _largest(ranked[top:bottom, left:right], TAILS) / center
    return cells


def _largest(magnitudes: npt.NDArray[np.float32], shares: Iterable[float]) -> Array:
    """Return the magnitudes at the end of the largest shares of the entries."""
    count = magnitudes.size
    places = [count - 1 - min(count - 1, int(share * count)) for share in shares]
    return np.partition(magnitudes, sorted(set(places)), axis=None)[places].astype(np.float64)


def _mean(measured: list[Array]) -> Array:
    """Return the means of cells, over those that have such cells."""
    stacked = np.array(measured)
    there = ~np.isnan(stacked)
    count = there.sum(0)
    total: Array = np.where(there, stacked, 0).sum(0)
    result: Array = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return result


def _profile(cells: Array) -> OperandProfile:
    """Round cells to four digits, and fill those that no operand had with the nearest class."""
    for axis in (0, 1):
        there = np.flatnonzero(~np.isnan(cells).all(axis=(1 - axis, 2)))
        nearest = [there[np.argmin(np.abs(there - index))] for index in range(CLASSES)]
        cells = cells.take(nearest, axis)
    rounded = [[[float(f"{x:.4g}") for x in cell] for cell in row] for row in cells]
    return OperandProfile.model_validate({"cells": rounded})


def read_profile(path: Path) -> dict[str, OperandProfile]:
    """Read a profile that `write_profile` wrote.

    Raises
    ------
    InputError
        If the file is none, or one of another format.
    """
    again = "as `accelsim workloads profile BUNDLE -o FILE` writes it"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        operands = content["operands"]
        found = content.get("format", 1)
        if found != FORMAT or content["lines"] != list(LINES) or content["tails"] != list(TAILS):
            raise InputError(
                f"{path}: is a profile of format {found}; expected format {FORMAT}, {again}"
            )
        return TypeAdapter(dict[str, OperandProfile]).validate_python(
            {key: {"cells": cells} for key, cells in operands.items()}
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is not a profile {again}: {error}") from error


def write_profile(path: Path, profile: Profile, source: Mapping[str, object]) -> None:
    """Write a profile as JSON, with the bundle's account of where its operands come from."""
    head = {"format": FORMAT, "source": dict(source), "lines": LINES, "tails": TAILS}
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    operands = [f"  {json.dumps(key)}: {_written(value)}" for key, value in profile.items()]
    parts.append('"operands": {\n' + ",\n".join(operands) + "\n }")
    try:
        path.write_text("{\n " + ",\n ".join(parts) + "\n}\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def _written(profile: OperandProfile) -> str:
    """Return the cells of an operand as JSON, one class of rows a line."""
    cells: list[Any] = [[[_short(x) for x in cell] for cell in row] for row in profile.cells]
    return "[\n" + ",\n".join(f"   {json.dumps(row)}" for row in cells) + "\n  ]"


def _short(value: float) -> float | int:
    return int(value) if value.is_integer() else value


@cache
def shipped_profile() -> dict[str, OperandProfile]:
    """Return the profile of SmolLM2-135M, forward and backward, that ships."""
    return read_profile(SHIPPED)
