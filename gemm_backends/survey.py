"""The state of every installed backend on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from accelsim.errors import AccelsimError
from gemm_backends.base import GemmBackend
from gemm_backends.loading import list_backends, load_backend
from gemm_backends.types import Availability


@dataclass(frozen=True)
class Surveyed:
    """One installed backend.

    Parameters
    ----------
    name : str
        Its name.
    backend : GemmBackend or None
        An instance with default options; None if it cannot be loaded.
    availability : Availability or None
        What the instance says; None if it cannot be loaded or asking it failed.
    error : str
        Why not, if one of these is None.
    """

    name: str
    backend: GemmBackend | None
    availability: Availability | None
    error: str = ""


def survey() -> list[Surveyed]:
    """Load every installed backend and ask whether it can run; what is broken stops no other."""
    return [_surveyed(name) for name in list_backends()]


def _surveyed(name: str) -> Surveyed:
    try:
        backend = load_backend(name)
    except AccelsimError as error:
        return Surveyed(name, None, None, str(error))
    try:
        return Surveyed(name, backend, backend.status())
    except AccelsimError as error:
        return Surveyed(name, backend, None, str(error))
