"""The precision in which a float32 GEMM multiplies: PyTorch may be set to use TF32 or bfloat16.

There are two sets of settings: ``torch.set_float32_matmul_precision`` and, in newer versions,
``torch.backends.*.fp32_precision``. Where both have been used, PyTorch refuses to answer through
the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_FULL = ("ieee", "none")
"""Values of ``fp32_precision`` that shorten nothing."""


def float32_is_ieee(device: torch.device) -> bool:
    """Whether a float32 GEMM certainly multiplies in float32 on a device; False if in doubt.

    Parameters
    ----------
    device : torch.device
        Where the operands lie.
    """
    if torch.is_autocast_enabled(device.type):
        return False
    try:
        if torch.get_float32_matmul_precision() != "highest":
            return False
    except RuntimeError:
        return False
    settings: list[Any] = [torch.backends, _matmul(device)]
    return all(getattr(x, "fp32_precision", "ieee") in _FULL for x in settings)


@contextmanager
def float32_precision(device: torch.device, tf32: bool = False) -> Iterator[None]:
    """Multiply float32 operands in float32, or in TF32, regardless of the process's settings.

    Parameters
    ----------
    device : torch.device
        Where the operands lie.
    tf32 : bool
        Whether the multipliers of an NVIDIA GPU round to TF32.
    """
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError:
        matmul = _matmul(device)
        kept, matmul.fp32_precision = matmul.fp32_precision, "tf32" if tf32 else "ieee"
        try:
            yield
        finally:
            matmul.fp32_precision = kept
        return
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _matmul(device: torch.device) -> Any:
    if device.type == "cuda":
        return torch.backends.cuda.matmul
    # Older versions have no settings of their own for the CPU.
    return getattr(torch.backends.mkldnn, "matmul", None)
