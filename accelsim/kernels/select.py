"""The percentile of magnitudes on the GPU: of a whole tensor, or of every row."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelsim.kernels.arriving import Arriving, Mail
from accelsim.kernels.launches import Launch, Pointer
from accelsim.kernels.nvcc import CSRC, CudaSource

SOURCE = CudaSource(CSRC / "select.cu")
ROWS = CudaSource(CSRC / "select_rows.cu")

TYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
"""The numbers by which the kernels know the element types."""

STATE_WORDS = 16 + 3 * 2048
"""Size of the kernels' ``State`` in words of 32 bits."""

ANSWER_WORDS = 3
"""Size of the kernels' ``Answer``: alpha, the scale, and the largest magnitude."""

SMALLEST_BUFFER = 1 << 16

NOWHERE = Mail()


class _Search(ctypes.Structure):
    """``Search`` of the kernels."""

    _fields_ = (
        ("x", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("rank", ctypes.c_int64),
        ("beta", ctypes.c_double),
        ("state", ctypes.c_void_p),
        ("buffer", ctypes.c_void_p),
        ("capacity", ctypes.c_uint32),
        ("type", ctypes.c_int32),
        ("sm_count", ctypes.c_int32),
        ("mail", Mail),
    )


class _RowSearch(ctypes.Structure):
    """``RowSearch`` of the kernels."""

    _fields_ = (
        ("x", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("d", ctypes.c_int64),
        ("rank", ctypes.c_int64),
        ("ranks", ctypes.c_void_p),
        ("beta", ctypes.c_double),
        ("found", ctypes.c_void_p),
        ("mail", Mail),
    )


class Selector:
    """Finds the k-th largest magnitude of tensors of one size, without waiting for the host.

    Parameters
    ----------
    count : int
        Entries of the tensor, at least 1.
    device : torch.device
        A CUDA device.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        self.count = count
        self._state = torch.empty(STATE_WORDS, dtype=torch.int32, device=device)
        capacity = max(SMALLEST_BUFFER, count // 16)
        self._buffer = torch.empty(capacity, dtype=torch.int32, device=device)
        self._search = _Search(
            count=count,
            state=self._state.data_ptr(),
            buffer=self._buffer.data_ptr(),
            capacity=capacity,
            sm_count=_sm_count(device),
        )

    @property
    def scale(self) -> Tensor:
        """``beta / (2 * alpha)`` of the last `run`, rounded once, a float32 scalar on the device.

        It is 1 for a tensor of zeros, and NaN where it is not a positive finite float32.
        """
        return self._state[15].view(torch.float32)

    @property
    def nonfinite(self) -> Tensor:
        """`count` less the index of the first NaN or infinity; 0 for none. An int64 scalar."""
        return self._state[4:6].view(torch.int64)[0]

    def run(self, x: Tensor, rank: int, beta: float, mail: Mail = NOWHERE) -> None:
        """Find the answer for a tensor, on the current stream.

        Parameters
        ----------
        x : Tensor
            Contiguous float32, float16 or bfloat16, with `count` entries.
        rank : int
            1 for the largest magnitude.
        beta : float
            For `scale`.
        mail : Mail
            Where the answer is sent.
        """
        search = self._search
        search.x, search.type, search.rank, search.beta = x.data_ptr(), TYPES[x.dtype], rank, beta
        search.mail = mail
        SOURCE.launch("accelsim_select", x.device, search)

    def launch(self, x: Pointer, kind: int, rank: int, beta: float) -> Launch:
        """Return the search as a launch.

        Parameters
        ----------
        x : Pointer
            Where the tensor is, with `count` entries.
        kind : int
            The number of its type; see `TYPES`.
        rank : int
            1 for the largest magnitude.
        beta : float
            For `scale`.
        """
        search = _Search.from_buffer_copy(self._search)
        search.type, search.rank, search.beta, search.mail = kind, rank, beta, NOWHERE
        x.fill(search, _Search.x.offset)
        return Launch(SOURCE, "accelsim_select", self._state.device, search)

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

    def begin(self, x: Tensor, rank: int, beta: float) -> Callable[[], npt.NDArray[np.float32]]:
        """Do what `run` does, and return what waits for the answer alone.

        Returns
        -------
        callable
            Returns float32 ``[3]``: alpha, the largest magnitude, and the scale.
        """
        arriving = Arriving(ANSWER_WORDS, x.device)
        self.run(x, rank, beta, arriving.mail)
        return lambda: arriving.wait().view(np.float32)[[0, 2, 1]]


@functools.cache
def _sm_count(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def select_rows(x: Tensor, rank: int | Tensor, beta: float = 1.0, mail: Mail = NOWHERE) -> Tensor:
    """Find the k-th largest and the largest magnitude of every row, and the scale that follows.

    Parameters
    ----------
    x : Tensor
        ``[rows, d]`` float32, contiguous, with entries.
    rank : int or Tensor
        1 for the largest; int64 ``[rows]``, contiguous, for one of each row.
    beta : float
        For the scales.
    mail : Mail
        Where the answer is sent, too.

    Returns
    -------
    Tensor
        float32 ``[3, rows]``: the k-th largest, the largest, and the scales as `Selector` gives
        them. NaN is larger than infinity.
    """
    found = torch.empty((3, len(x)), dtype=torch.float32, device=x.device)
    search = _RowSearch(
        x=x.data_ptr(),
        rows=x.shape[0],
        d=x.shape[1],
        beta=beta,
        found=found.data_ptr(),
        mail=mail,
    )
    if isinstance(rank, Tensor):
        search.ranks = rank.data_ptr()
    else:
        search.rank = rank
    ROWS.launch("accelsim_select_rows", x.device, search)
    return found


def begin_select_rows(
    x: Tensor, rank: int, beta: float
) -> tuple[Tensor, Callable[[], npt.NDArray[np.float32]]]:
    """Do what `select_rows` does; return its answer on the device, and what waits for it."""
    arriving = Arriving(3 * len(x), x.device)
    found = select_rows(x, rank, beta, arriving.mail)
    return found, lambda: arriving.wait().view(np.float32).reshape(3, -1)
