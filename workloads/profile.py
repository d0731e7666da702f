"""Heavy hitters measured on real operands, and synthetic operands that have the same.

An operand is drawn with a two-way Gaussian copula: the magnitude of entry ij is the measured
quantile of ``Φ(sqrt(1 - r - c) e_ij + sqrt(r) u_i + sqrt(c) v_j)`` with standard normal e, u and
v. So the magnitudes have the measured distribution, and the shares r and c of the variance of their
normal scores lie between rows and between columns, as measured (a two-way analysis of variance).
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import fmean, median

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from scipy.special import ndtr, ndtri
from torch import Tensor

from accelsim.errors import InputError
from workloads.gemm import Gemm

TAILS = (0, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 1)
"""The shares of the largest entries at whose end a quantile is measured; 0 is the largest entry."""

SHIPPED = Path(__file__).parent / "data" / "heavy-hitters.json"

_MOST = 1 << 17
"""Entries of a matrix from which its rows and columns are compared."""

_CHUNK = 1 << 22
"""Entries whose numbers are drawn together; which numbers an entry gets depends on it."""

Floats = npt.NDArray[np.floating]

_Matrix = npt.NDArray[np.float32]


class OperandProfile(BaseModel):
    """The distribution of the magnitudes of an operand.

    Parameters
    ----------
    quantiles : tuple of float
        The magnitude that the share `TAILS` of all entries reaches, over α_95; not rising.
    rows, columns : float
        Share of the variance of the magnitudes' normal scores between rows, and between columns.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    quantiles: tuple[float, ...] = Field(min_length=len(TAILS), max_length=len(TAILS))
    rows: float = Field(ge=0, le=1)
    columns: float = Field(ge=0, le=1)


Profile = Mapping[str, OperandProfile]
"""Profiles by ``op/phase/a`` and ``op/phase/b``."""


def measure(gemms: Iterable[Gemm]) -> dict[str, OperandProfile]:
    """Measure the operands of GEMMs; those of one op and phase share a profile.

    Parameters
    ----------
    gemms : iterable of Gemm
        Loaded one at a time; an operand whose α_95 is 0 is left out.

    Returns
    -------
    dict
        For every op, phase and operand the medians of the quantiles and the means of the shares.
    """
    found: dict[str, list[OperandProfile]] = defaultdict(list)
    for gemm in gemms:
        for side, operand in zip("ab", gemm.load(), strict=True):
            values = operand.abs().float().numpy()
            quantiles = _quantiles(values)
            if quantiles is not None:
                rows, columns = _shares(values.reshape(-1, *values.shape[-2:]))
                profile = OperandProfile(quantiles=quantiles, rows=rows, columns=columns)
                found[f"{gemm.op}/{gemm.phase}/{side}"].append(profile)
    return {
        key: OperandProfile(
            quantiles=tuple(
                float(f"{median(values):.4g}")
                for values in zip(*(p.quantiles for p in profiles), strict=True)
            ),
            rows=round(fmean(p.rows for p in profiles), 4),
            columns=round(fmean(p.columns for p in profiles), 4),
        )
        for key, profiles in sorted(found.items())
    }


def _quantiles(magnitudes: Floats) -> tuple[float, ...] | None:
    count = magnitudes.size
    if not count:
        return None
    places = [count - 1 - min(count - 1, int(tail * count)) for tail in TAILS]
    found = np.partition(magnitudes, sorted(set(places)), axis=None)[places]
    center = float(found[TAILS.index(0.05)])
    return tuple(float(value) / center for value in found) if center else None


def _shares(matrices: Floats) -> tuple[float, float]:
    """Return the shares of the variance of normal scores between rows and between columns."""
    _, n, d = matrices.shape
    if n < 2 or d < 2:
        return 0.0, 0.0
    matrix = matrices[0][:: max(1, n * d // _MOST)][:, :_MOST]
    n, d = matrix.shape
    if n < 2:
        return 0.0, 0.0
    from scipy.stats import rankdata  # which takes two seconds, and most commands never get here

    scores = ndtri((rankdata(matrix, axis=None) - 0.5) / matrix.size).reshape(n, d)
    total = scores.var()
    if not total:
        return 0.0, 0.0
    by_row, by_column = scores.mean(1), scores.mean(0)
    rest = (scores - by_row[:, None] - by_column + scores.mean()).var()
    rows = max(0.0, by_row.var() - rest / d) / total
    columns = max(0.0, by_column.var() - rest / n) / total
    over = max(1.0, rows + columns)
    return float(rows / over), float(columns / over)


@dataclass(frozen=True)
class Drawing:
    """A synthetic operand that is drawn when it is needed.

    Parameters
    ----------
    profile : OperandProfile
        Of its magnitudes.
    shape : tuple of int
        ``[n, d]`` or ``[batch, n, d]``.
    signed : bool
        Whether signs are drawn; attention probabilities have none.
    key : str
        What decides every entry, such as a GEMM's name with a seed.
    """

    profile: OperandProfile
    shape: tuple[int, ...]
    signed: bool
    key: str

    def draw(self) -> Tensor:
        """Draw it: float32, α_95 close to 1, the same on every machine but for a last bit."""
        seed = int.from_bytes(hashlib.sha256(self.key.encode()).digest()[:16], "little")
        stream = np.random.Generator(np.random.Philox(key=seed))
        *lead, n, d = self.shape
        batch = int(np.prod(lead)) if lead else 1
        result = np.empty((batch, n, d), np.float32)
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            for matrix in result:
                self._fill(matrix, stream, threads)
        return torch.from_numpy(result.reshape(self.shape))

    def _fill(
        self,
        matrix: _Matrix,
        stream: np.random.Generator,
        threads: ThreadPoolExecutor,
    ) -> None:
        """Fill one matrix, some rows at a time: numbers are drawn in order, the rest in threads."""
        n, d = matrix.shape
        share, columns = self.profile.rows, self.profile.columns
        of_rows = np.sqrt(share) * stream.standard_normal((n, 1), np.float32)
        of_columns = np.sqrt(columns) * stream.standard_normal(d, np.float32)
        own = np.float32(np.sqrt(max(0.0, 1 - share - columns)))

        def finish(part: _Matrix, noise: _Matrix, rows: _Matrix, signs: _Matrix | None) -> None:
            scores = own * noise
            scores += rows + of_columns
            part[:] = np.interp(ndtr(-scores), TAILS, self.profile.quantiles)
            if signs is not None:
                part *= np.where(signs < 0.5, 1, -1)

        step = max(1, _CHUNK // max(1, d))
        ahead: deque[Future[None]] = deque()
        for start in range(0, n, step):
            part, rows = matrix[start : start + step], of_rows[start : start + step]
            noise = stream.standard_normal(part.shape, np.float32)
            signs = stream.random(part.shape, np.float32) if self.signed else None
            ahead.append(threads.submit(finish, part, noise, rows, signs))
            if len(ahead) > 2 * torch.get_num_threads():
                ahead.popleft().result()
        for last in ahead:
            last.result()


def read_profile(path: Path) -> dict[str, OperandProfile]:
    """Read a profile that `write_profile` wrote.

    Raises
    ------
    InputError
        If the file is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return TypeAdapter(dict[str, OperandProfile]).validate_python(json.loads(text)["operands"])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise InputError(
            f"{path}: is not a profile as `accelsim workloads profile` writes it: {error}"
        ) from error


def write_profile(path: Path, profile: Profile, source: Mapping[str, object]) -> None:
    """Write a profile as JSON, with the bundle's account of where its operands come from."""
    operands = {key: value.model_dump() for key, value in profile.items()}
    content = {"source": dict(source), "tails": TAILS, "operands": operands}
    try:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


@cache
def shipped_profile() -> dict[str, OperandProfile]:
    """Return the profile of SmolLM2-135M, forward and backward, that ships."""
    return read_profile(SHIPPED)
