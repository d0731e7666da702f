"""Small results of kernels on their way from a GPU to the host."""

from __future__ import annotations

import ctypes
import weakref
from collections import defaultdict

import numpy as np
import numpy.typing as npt
import torch


class Mail(ctypes.Structure):
    """``Mail`` of the kernels: where a result goes. As it is made, it goes nowhere."""

    _fields_ = (("host", ctypes.c_void_p), ("event", ctypes.c_void_p))


class _Mailbox:
    """Pinned memory that results of one device are sent to, one after another."""

    def __init__(self, words: int, device: torch.device) -> None:
        self._memory = torch.empty(words, dtype=torch.int32, device="cpu", pin_memory=True)
        self.words: npt.NDArray[np.int32] = self._memory.numpy()
        self.event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.event.record(torch.cuda.current_stream(device))  # it has a handle only then
        self.mail = Mail(self._memory.data_ptr(), self.event.cuda_event)


_free: dict[tuple[int, torch.device], list[_Mailbox]] = defaultdict(list)
"""Mailboxes that no result is awaited in, by their size and device."""


def _give_back(box: _Mailbox, free: list[_Mailbox]) -> None:
    """Let a mailbox be used again, once the last result is in it."""
    box.event.synchronize()
    free.append(box)


class Arriving:
    """A result that a launch is to send; only what is queued before it is waited for.

    Making mailboxes takes longer than the launch, so they are used again.

    Parameters
    ----------
    words : int
        32-bit words of the result.
    device : torch.device
        The CUDA device that it comes from.

    Attributes
    ----------
    mail : Mail
        For the argument of the launch.
    """

    def __init__(self, words: int, device: torch.device) -> None:
        free = _free[words, device]
        try:
            self._box = free.pop()
        except IndexError:
            self._box = _Mailbox(words, device)
        self.mail = self._box.mail
        weakref.finalize(self, _give_back, self._box, free).atexit = False

    def wait(self) -> npt.NDArray[np.int32]:
        """Return the words of the result; they are there as long as this object is."""
        self._box.event.synchronize()
        return self._box.words
