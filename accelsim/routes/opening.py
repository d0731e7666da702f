"""Opening the route that a request, a strategy and a backend ask for."""

from __future__ import annotations

from accelsim.errors import UnsupportedError
from accelsim.routes.general import GeneralRoute
from accelsim.types import FUSED, Request, Route, StrategyChoice
from accelsim.unpack import Strategy, load_strategy
from gemm_backends import GemmBackend, Support
from gemm_backends.routes import fused_route


def open_route(
    request: Request,
    strategy: Strategy | StrategyChoice | str,
    backend: GemmBackend,
    watch_overflow: bool = False,
) -> Route:
    """Open a way from float operands to the exact product.

    Parameters
    ----------
    request : Request
        The task of the route.
    strategy : Strategy, StrategyChoice or str
        How operands are unpacked, or ``fused`` for the backend's own route.
    backend : GemmBackend
        What multiplies.
    watch_overflow : bool
        Ask the backend at how many steps its accumulator overflowed; a fused route reports what it
        knows.

    Returns
    -------
    Route
        The route; it takes new operands in every run.

    Raises
    ------
    UnsupportedError
        If the backend has no fused route for the request; the message is its reason.
    InputError
        If there is no such strategy.
    BackendError
        If what it offers is not a route.
    """
    if isinstance(strategy, Strategy):
        return GeneralRoute(request, strategy, backend, watch_overflow)
    name = strategy if isinstance(strategy, str) else strategy.name
    if name != FUSED:
        loaded = load_strategy(strategy, request.block)
        return GeneralRoute(request, loaded, backend, watch_overflow)
    offered = fused_route(backend, request)
    if isinstance(offered, Support):
        raise UnsupportedError(offered.reason)
    return offered
