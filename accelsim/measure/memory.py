"""Available memory, and the message for running out of a GPU's."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

GIB = 2**30
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": GIB}


def physical_memory() -> int:
    """Return the bytes of this machine's main memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def describe_out_of_memory(error: torch.OutOfMemoryError) -> str:
    """Describe an error of PyTorch's allocator; call it while the error is being handled.

    Parameters
    ----------
    error : torch.OutOfMemoryError
        Its notes, if any, name the stage in which it was raised (`StageTimer` adds one).

    Returns
    -------
    str
        The stage, the requested and the existing memory, and roughly which part of the work fits.
    """
    import torch

    where = "; ".join(getattr(error, "__notes__", ())) or "outside the timed stages"
    held = torch.cuda.memory_allocated()
    _, total = torch.cuda.mem_get_info()
    found = re.search(r"[Tt]ried to allocate ([\d.]+) (bytes|KiB|MiB|GiB)", str(error))
    asked = float(found[1]) * _UNITS[found[2]] if found else 0.0
    share = total / (held + asked) if asked else 0.5
    return (
        f"out of GPU memory {where}: {asked / GIB:.2f} GiB were requested, {held / GIB:.2f} GiB "
        f"of {total / GIB:.2f} GiB were in use; about {min(share, 0.95):.0%} of the rows of A, or "
        "of a batch, would fit"
    )
