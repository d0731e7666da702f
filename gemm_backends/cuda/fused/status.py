"""The status of a run: the device determines whether it is exact, and the host reads that."""

from __future__ import annotations

import ctypes
import struct
from typing import NamedTuple

import torch
from torch import Tensor

from accelsim.kernels.launches import Arrival
from accelsim.kernels.nvcc import CSRC, CudaSource

STATUS = CudaSource(CSRC / "status.cu")

_STATUS = struct.Struct("IIiiiiffQQddQQII")

WORDS = 22
"""Size of the kernels' ``Status`` in words of 32 bits."""

MOST_DIGITS = 8
"""Digits of the largest integers that a route takes, those below 2^62."""

LARGEST_SUM = {False: float(2**31 - 1), True: float(2**63 - 1)}
"""The bound on every sum, of 32 or of 64 bits."""

PROVABLE_K = 1 << 22
"""So far the float32 sums of squares that bound all sums are off by less than one part in 500."""

SERIALS = 2**32

NO_PROOF, UNDEFINED, NOT_FINITE = 8, 32, 64
"""Bits of the flags that plans do not help against, or not alone."""


class Report(NamedTuple):
    """The device's report on a run.

    Parameters
    ----------
    flags : int
        Why the result is invalid; 0 if it is valid.
    sticky : int
        All flags of runs whose results were poisoned, since the host last read them.
    gate : bool
        Whether the dense product behind the gate made it exact all the same.
    replans : int
        How often that happened.
    digits : tuple of int
        8-bit digits of the largest entries of A and of B where they have several, else 0 or 1.
    nonfinite : tuple of int
        Entries less the index of the first NaN or infinity, of A and of B; 0 for none.
    beyond : tuple of int
        Entries of A and of B that need more than one digit.
    listed : int
        Products of two high parts that were made one by one.
    """

    flags: int
    sticky: int
    gate: bool
    replans: int
    digits: tuple[int, int]
    nonfinite: tuple[int, int]
    beyond: tuple[int, int]
    listed: int


class Status:
    """The status of the runs of one way, on the device.

    Parameters
    ----------
    words : Tensor
        ``[WORDS]`` int32, zeros.
    host : Tensor
        As many in pinned memory, which the device can write to.
    """

    def __init__(self, words: Tensor, host: Tensor) -> None:
        self.words, self.host = words, host
        self.gate = words[2:3]
        self.scale = words[12:16].view(torch.float64)
        """The scale of all of C, NaN if the result is invalid, and its inverse."""
        address = host.data_ptr()
        self._arrival = Arrival(address + 4 * (WORDS - 1), words.device)
        self._bytes = (ctypes.c_char * (4 * WORDS)).from_address(address)
        self._run = 0

    def begin(self) -> None:
        """Count a run, which is about to be queued; the device counts its reports to the host."""
        self._run = (self._run + 1) % SERIALS

    def wait(self) -> Report:
        """Wait for the conclusion of the last run, and not for what was queued behind it."""
        self._arrival.wait(self._run)
        return _report(self._bytes.raw)

    def read(self) -> Report:
        """Wait for all work on the current stream."""
        return _report(self.words.cpu().numpy().tobytes())

    def forgive(self) -> None:
        """Clear what stays from run to run."""
        self.words[1].zero_()
        self.words[8:12].zero_()


class StatusPool:
    """Statuses made ahead: zeros written inside a CUDA graph would be written by every replay."""

    SIZE = 64

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._free = self._create()

    def take(self) -> Status:
        """Return an unused one."""
        if not self._free:
            self._free = self._create()
        return Status(*self._free.pop())

    def _create(self) -> list[tuple[Tensor, Tensor]]:
        shape = self.SIZE, WORDS
        words = torch.zeros(shape, dtype=torch.int32, device=self._device)
        host = torch.zeros(shape, dtype=torch.int32, pin_memory=True, device="cpu")
        return list(zip(words.unbind(), host.unbind(), strict=True))


def _report(words: bytes) -> Report:
    (
        flags, sticky, gate, replans, digits_a, digits_b, _, _, nonfinite_a, nonfinite_b, _, _,
        beyond_a, beyond_b, listed, _,
    ) = _STATUS.unpack(words)  # fmt: skip
    return Report(
        flags,
        sticky,
        bool(gate),
        replans,
        (digits_a, digits_b),
        (nonfinite_a, nonfinite_b),
        (beyond_a, beyond_b),
        listed,
    )
