"""Small results of kernels on their way from a GPU to the host."""

from __future__ import annotations

import torch
from torch import Tensor


class Arriving:
    """A tensor whose copy to the host is queued; only what was queued before is waited for.

    Parameters
    ----------
    tensor : Tensor
        On a CUDA device.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._host = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
        self._host.copy_(tensor, non_blocking=True)
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._done.record(torch.cuda.current_stream(tensor.device))

    def wait(self) -> Tensor:
        """Return the tensor on the CPU."""
        self._done.synchronize()
        return self._host
