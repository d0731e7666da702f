"""Extraction of a bundle from a model: an estimate of its size, and the capture itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from accelsim.errors import InputError
from workloads.capture import Capture, Sampling
from workloads.models.runnable import Runnable


@dataclass(frozen=True)
class BundleEstimate:
    """The estimated size of a capture.

    Parameters
    ----------
    gemms : int
        How many GEMMs it would have.
    bytes : int
        How much its operands take.
    skipped : dict of str to int
        Operators whose GEMMs cannot be told, with the reason.
    """

    gemms: int
    bytes: int
    skipped: dict[str, int]


def estimate(runnable: Runnable, sampling: Sampling) -> BundleEstimate:
    """Run a model once, copying no operand, and say what a capture would take.

    Raises
    ------
    InputError
        If no GEMM matches.
    """
    with Capture(runnable.model, None, sampling) as seen:
        runnable.run(_has_backward(sampling))
    if not seen.gemms:
        raise InputError(seen.nothing())
    size = sum(gemm.bytes(sampling) for gemm in seen.gemms)
    return BundleEstimate(len(seen.gemms), size, dict(seen.skipped))


def extract(
    runnable: Runnable,
    path: Path,
    sampling: Sampling,
    budget: int | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> Capture:
    """Run a model and write its GEMMs to a bundle.

    Parameters
    ----------
    runnable : Runnable
        The model with its input.
    path : Path
        The bundle to write.
    sampling : Sampling
        Which GEMMs, and how much of each.
    budget : int, optional
        Bytes of operands after which GEMMs are skipped.
    progress : callable, optional
        Called with each GEMM's name.

    Returns
    -------
    Capture
        What was captured and what was skipped.
    """
    with Capture(runnable.model, path, sampling, runnable.source, budget, progress) as done:
        runnable.run(_has_backward(sampling))
    return done


def check_space(path: Path, needed: int) -> None:
    """Check that a file of this many bytes fits the disk.

    Raises
    ------
    InputError
        If it does not, or if there is no such folder.
    """
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"{path}: there is no folder {folder}")
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{path}: the operands take {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; "
            "capture less: --gemm, --rows, --heads, --tokens or --budget"
        )


def _has_backward(sampling: Sampling) -> bool:
    return any(phase != "forward" for phase in sampling.phases)
