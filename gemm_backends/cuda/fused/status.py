"""Whether a run is exact: what the device concludes, and how the host reads it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import torch
from torch import Tensor

from accelsim.kernels.nvcc import CSRC, CudaSource

STATUS = CudaSource(CSRC / "status.cu")

_STATUS = struct.Struct("IIiiiiffQQdd")

WORDS = 16
"""Size of the kernels' ``Status`` in words of 32 bits."""

MOST_DIGITS = 8
"""Digits of the largest integers that a route takes, those below 2^62."""

LARGEST_SUM = {False: float(2**31 - 1), True: float(2**63 - 1)}
"""What no sum may exceed, by whether it has 64 bits."""

PROVABLE_K = 1 << 22
"""So far the float32 sums of squares that bound all sums are off by less than one part in 500."""

NO_PROOF, UNDEFINED, NOT_FINITE = 8, 32, 64
"""Bits of the flags that plans do not help against, or not alone."""


@dataclass(frozen=True)
class Report:
    """What the device concluded of a run.

    Parameters
    ----------
    flags : int
        Why the result does not count; 0 if it does.
    sticky : int
        All flags of runs whose results were poisoned, since the host looked last.
    gate : bool
        Whether the dense product behind the gate made it exact all the same.
    replans : int
        How often that happened.
    digits : tuple of int
        8-bit digits of the largest entries of A and of B, where more than were expected.
    nonfinite : tuple of int
        Entries less the index of the first NaN or infinity, of A and of B; 0 for none.
    """

    flags: int
    sticky: int
    gate: bool
    replans: int
    digits: tuple[int, int]
    nonfinite: tuple[int, int]


class Status:
    """What the kernels conclude of the runs of one way, on the device.

    Parameters
    ----------
    words : Tensor
        ``[WORDS]`` int32, zeros.
    """

    def __init__(self, words: Tensor) -> None:
        self.words = words
        self.gate = words[2:3]
        self.scale = words[12:16].view(torch.float64)
        """The scale of all of C, NaN where the result does not count, and its inverse."""
        self._host: Tensor | None = None
        self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def fetch(self) -> None:
        """Queue a copy for `wait`."""
        if self._host is None:
            self._host = torch.zeros(WORDS, dtype=torch.int32, pin_memory=True)
        self._host.copy_(self.words, non_blocking=True)
        self._event.record()

    def wait(self) -> Report:
        """Wait for what `fetch` queued, and not for what was queued behind it."""
        self._event.synchronize()
        assert self._host is not None
        return _report(self._host)

    def read(self) -> Report:
        """Wait for all work on the current stream."""
        return _report(self.words.cpu())

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
        """Return one that nobody has."""
        if not self._free:
            self._free = self._create()
        return Status(self._free.pop())

    def _create(self) -> list[Tensor]:
        words = torch.zeros((self.SIZE, WORDS), dtype=torch.int32, device=self._device)
        return list(words.unbind())


def _report(words: Tensor) -> Report:
    flags, sticky, gate, replans, first, second, _, _, a, b, _, _ = _STATUS.unpack(
        words.numpy().tobytes()
    )
    return Report(flags, sticky, bool(gate), replans, (first, second), (a, b))
