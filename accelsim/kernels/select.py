"""The percentile of magnitudes on the GPU: of a whole tensor, or of every row."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelsim.kernels.arriving import Arriving
from accelsim.kernels.nvcc import CSRC, CudaSource

SOURCE = CudaSource(CSRC / "select.cu")
ROWS = CudaSource(CSRC / "select_rows.cu")

TYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
"""The numbers by which the kernels know the element types."""

STATE_WORDS = 16 + 3 * 2048
"""Size of the kernels' ``State`` in words of 32 bits."""

SMALLEST_BUFFER = 1 << 16


class Selector:
    """Finds the k-th largest magnitude of tensors of one size, without waiting for the host.

    Parameters
    ----------
    count : int
        Entries of the tensor, at least 1.
    device : torch.device
        A CUDA device.

    Attributes
    ----------
    alpha, scale : Tensor
        float32 scalars on the device: the answer of the last `run`, and ``beta / (2 * alpha)``
        rounded once (1 for a tensor of zeros, NaN where it is not a positive finite float32).
    nonfinite : Tensor
        int64 scalar on the device: `count` less the index of the first NaN or infinity; 0 for none.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        self.count = count
        self._state = torch.zeros(STATE_WORDS, dtype=torch.int32, device=device)
        capacity = max(SMALLEST_BUFFER, count // 16)
        self._buffer = torch.empty(capacity, dtype=torch.int32, device=device)
        self.alpha = self._state[14].view(torch.float32)
        self.scale = self._state[15].view(torch.float32)
        self.nonfinite = self._state[4:6].view(torch.int64)[0]
        self._sm_count = _sm_count(device)

    def run(self, x: Tensor, rank: int, beta: float) -> None:
        """Find the answer for a tensor, on the current stream.

        Parameters
        ----------
        x : Tensor
            Contiguous float32, float16 or bfloat16, with `count` entries.
        rank : int
            1 for the largest magnitude.
        beta : float
            For `scale`.
        """
        SOURCE.launch(
            "accelsim_select",
            x.device,
            x,
            self.count,
            TYPES[x.dtype],
            rank,
            float(beta),
            self._state,
            self._buffer,
            self._buffer.numel(),
            self._sm_count,
        )

    def report(self) -> tuple[float, float, float, int | None]:
        """Wait for the answer and return alpha, the scale, the largest magnitude, and more.

        Returns
        -------
        alpha, scale, largest : float
            As float32.
        first_nonfinite : int or None
            Flat index of the first NaN or infinity.
        """
        words = self._state[:16].cpu()
        floats = words.view(torch.float32)
        nonfinite = int(words[4:6].view(torch.int64))
        index = self.count - nonfinite if nonfinite else None
        return float(floats[14]), float(floats[15]), float(floats[11]), index

    def begin_report(self) -> Callable[[], npt.NDArray[np.float32]]:
        """Queue the copy of the answer, and return what waits for that alone.

        Returns
        -------
        callable
            Returns float32 ``[2]``: alpha and the largest magnitude.
        """
        arriving = Arriving(self._state[:16])
        return lambda: arriving.wait().numpy().view(np.float32)[[14, 11]]


@functools.cache
def _sm_count(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def select_rows(x: Tensor, rank: int | Tensor) -> Tensor:
    """Find the k-th largest and the largest magnitude of every row.

    Parameters
    ----------
    x : Tensor
        ``[rows, d]`` float32, contiguous, with entries.
    rank : int or Tensor
        1 for the largest; int64 ``[rows]`` for one of each row.

    Returns
    -------
    Tensor
        float32 ``[2, rows]``: the k-th largest and the largest. NaN is larger than infinity.
    """
    found = torch.empty((2, len(x)), dtype=torch.float32, device=x.device)
    ranks = rank if isinstance(rank, Tensor) else None
    k = 0 if isinstance(rank, Tensor) else rank
    ROWS.launch("accelsim_select_rows", x.device, x, *x.shape, k, ranks, found)
    return found
