"""A backend's own way from floats to the product, as a caller asks for it."""

from __future__ import annotations

from accelsim.types import Request, Route
from gemm_backends.base import GemmBackend
from gemm_backends.declaration import written_for
from gemm_backends.errors import BackendError
from gemm_backends.types import Support

METHODS = ("prepare", "run", "check", "integers", "scales", "counts")
"""The attributes that a route must have."""


def fused_route(backend: GemmBackend, request: Request) -> Route | Support:
    """Ask a backend for a route, and check the answer.

    Parameters
    ----------
    backend : GemmBackend
        An instance that can run on this machine.
    request : Request
        Shapes, types, rounding and digits.

    Returns
    -------
    Route or Support
        A route, or no with the reason.

    Raises
    ------
    BackendError
        If `GemmBackend.fused` gives anything else.
    """
    if not written_for(type(backend), "fused"):
        return Support(
            False,
            f"backend {backend.name!r} is written for version {backend.api_version} of the plug-in "
            "API, which has no fused routes",
        )
    answer: object = backend.fused(request)
    if isinstance(answer, Support):
        if answer:
            raise BackendError(
                f"backend {backend.name!r}: fused() returned {answer!r}; it gives a route, or "
                "Support(False, reason)"
            )
        return answer
    missing = [name for name in METHODS if not callable(getattr(answer, name, None))]
    if missing:
        raise BackendError(
            f"backend {backend.name!r}: fused() returned {type(answer).__name__}, which is not a "
            f"route: it lacks {', '.join(missing)}"
        )
    return answer  # type: ignore[return-value]
