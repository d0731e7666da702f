"""The device that a config asks for."""

from __future__ import annotations

import torch

from accelsim.errors import InputError


def check_device(device: str) -> None:
    """See that tensors can be made on a device.

    Parameters
    ----------
    device : str
        Such as ``cuda:1``.

    Raises
    ------
    InputError
        If they cannot.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} cannot be used here: {error}") from error
