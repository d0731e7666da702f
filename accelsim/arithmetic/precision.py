"""How floats are rounded here: the precision of a float32 GEMM, and the processor's rounding mode.

PyTorch may be set to multiply float32 operands in TF32 or bfloat16. There are two sets of settings:
``torch.set_float32_matmul_precision`` and, in newer versions, ``torch.backends.*.fp32_precision``.
Where both have been used, PyTorch refuses to answer through the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from accelsim.errors import InputError

_FULL = ("ieee", "none")
"""Values of ``fp32_precision`` that shorten nothing."""


_ONE, _LITTLE = 1.0, 2.0**-60


def check_rounding_mode() -> None:
    """Check that this thread rounds to the nearest float, as processors do unless told otherwise.

    Raises
    ------
    InputError
        If it rounds up, down or towards zero, which C's ``fesetround`` sets for a whole thread.
    """
    if _ONE + _LITTLE != _ONE or _ONE - _LITTLE != _ONE:
        raise InputError(
            "the processor does not round to the nearest float, so that integers would be others; "
            "call fesetround(FE_TONEAREST) in the library that set another mode"
        )


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
