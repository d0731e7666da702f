"""The same bits from two runs of a training on one machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def repeatable(device: str) -> Iterator[None]:
    """Let a GPU compute everything in a fixed order; operators that cannot do so are warned of.

    On the CPU nothing changes: its operators have a fixed order for a given number of threads.

    Parameters
    ----------
    device : str
        Where.
    """
    if not device.startswith("cuda"):
        yield
        return
    # cuBLAS reads it when it makes its first workspace.
    os.environ.setdefault(_WORKSPACE, ":4096:8")
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = before[2]  # type: ignore[attr-defined]


def weights_hash(model: nn.Module) -> str:
    """Return the SHA-256 of a model's weights and buffers, in the order of their names."""
    digest = hashlib.sha256()
    for name, x in sorted(model.state_dict().items()):
        digest.update(f"{name} {x.dtype} {tuple(x.shape)}\n".encode())
        digest.update(x.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
