"""Synthetic operands that have the heavy hitters of a measured profile."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from workloads.profile import TAILS, OperandProfile, bounds

_CHUNK = 1 << 22
"""Entries whose numbers are drawn together; which numbers an entry gets depends on it."""

_Matrix = npt.NDArray[np.float32]
_Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Drawing:
    """A synthetic operand that is drawn when it is needed.

    Rows and columns of every class come in their measured shares, in random order. The magnitude of
    an entry is a uniform random number's quantile in the cell of its row's and column's class.

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
        """Draw it: float32, α_95 close to 1, the same on every machine."""
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
        self, matrix: _Matrix, stream: np.random.Generator, threads: ThreadPoolExecutor
    ) -> None:
        """Fill one matrix, some rows at a time: numbers are drawn in order, the rest in threads."""
        n, d = matrix.shape
        places, columns = stream.permutation(n), stream.permutation(d)
        step = max(1, _CHUNK // max(1, d))
        ahead: deque[Future[None]] = deque()
        for row_class, (top, bottom) in enumerate(pairwise(bounds(n))):
            for start in range(top, bottom, step):
                rows = places[start : min(bottom, start + step)]
                numbers = stream.random((len(rows), d), np.float32)
                ahead.append(
                    threads.submit(self._finish, matrix, rows, columns, row_class, numbers)
                )
                if len(ahead) > 2 * torch.get_num_threads():
                    ahead.popleft().result()
        for last in ahead:
            last.result()

    def _finish(
        self, matrix: _Matrix, rows: _Places, columns: _Places, row_class: int, numbers: _Matrix
    ) -> None:
        """Turn uniform numbers into entries of the rows, which are of one class."""
        signs = None
        if self.signed:  # half of the numbers are for negative entries
            numbers *= 2
            signs = numbers >= 1
            numbers -= signs
        for cell, (left, right) in zip(
            self.profile.cells[row_class], pairwise(bounds(len(columns))), strict=True
        ):
            numbers[:, left:right] = np.interp(numbers[:, left:right], TAILS, cell)
        if signs is not None:
            np.negative(numbers, out=numbers, where=signs)
        matrix[rows[:, None], columns] = numbers
