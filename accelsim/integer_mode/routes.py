"""The routes of a model's GEMMs, each opened once."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeAlias

from accelsim.errors import InputError, UnsupportedError
from accelsim.routes import SimulatedRoute, open_route
from accelsim.types import FUSED, PerOperand, Request, Route, StrategyChoice
from accelsim.unpack import Strategy, load_strategy
from gemm_backends import GemmBackend, list_backends, load_backend

Opener: TypeAlias = Callable[[Request], Route]

MOST = 256
"""Routes that are held at a time; the least recently used is dropped first."""


class Routes:
    """Opens a route for each kind of GEMM, and keeps it for further GEMMs of that kind.

    Kinds are told by keys: looking up a whole request takes longer than a small GEMM.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[Hashable, tuple[Request, Route]] = OrderedDict()

    def get(
        self, key: Hashable, request: Callable[[], Request], opener: Opener
    ) -> tuple[Request, Route]:
        """Return a request with its route.

        Parameters
        ----------
        key : hashable
            What tells the request from others.
        request : callable
            Makes it.
        opener : callable
            Opens its route.
        """
        found = self._open.get(key)
        if found is None:
            if len(self._open) >= MOST:
                self._open.popitem(last=False)
            made = request()
            found = self._open[key] = made, opener(made)
        self._open.move_to_end(key)
        return found

    def opened(self) -> list[Route]:
        """Return the routes that are held."""
        return [route for _, route in self._open.values()]


def opener_of(
    exact: str,
    backend: str | GemmBackend | None,
    bits: PerOperand[int],
    strategy: str | StrategyChoice | Strategy | None,
    block: int | None,
    check: bool,
) -> Opener:
    """Return what opens the routes that `accelsim.integer_gemms` asks for by these options.

    Raises
    ------
    InputError
        If an option is wrong, or the backend does not run here.
    """
    if exact == "simulate":
        return SimulatedRoute
    if exact not in ("auto", "backend"):
        raise InputError(f"exact: found {exact!r}; expected 'auto', 'backend' or 'simulate'")
    if backend is None:
        if exact == "backend":
            raise InputError("exact='backend': name a backend")
        if strategy is not None and not _is_fused(strategy):
            raise InputError(f"strategy {str(strategy)!r}: name a backend for its products")
        return Automatic(bits, must=strategy is not None)
    loaded = load_backend(backend) if isinstance(backend, str) else backend
    availability = loaded.status()
    if not availability.available:
        raise InputError(f"backend {loaded.name!r} cannot run here: {availability.reason}")
    chosen = "mix" if strategy is None else strategy
    return through(loaded.for_bits(bits.a, bits.b), chosen, block, check)


def through(
    backend: GemmBackend,
    strategy: str | StrategyChoice | Strategy,
    block: int | None,
    check: bool,
) -> Opener:
    """Return what opens routes through a backend.

    Parameters
    ----------
    backend : GemmBackend
        What multiplies.
    strategy : str, StrategyChoice or Strategy
        How operands are unpacked, or ``fused``.
    block : int or None
        Columns of a K-block, for strategies that cut any; None for their default.
    check : bool
        Whether the backend's accumulator is watched.

    Raises
    ------
    InputError
        If there is no such strategy.
    """
    if not _is_fused(strategy) and not isinstance(strategy, Strategy):
        strategy = load_strategy(strategy, block)

    def opener(request: Request) -> Route:
        return open_route(request, strategy, backend, check)

    return opener


class Automatic:
    """Opens a fused route of any backend that has one on the operands' GPU, else simulates.

    Either gives the same integers.

    Parameters
    ----------
    bits : PerOperand of int
        Width of the digits.
    must : bool
        Whether a fused route must be found.
    """

    def __init__(self, bits: PerOperand[int], must: bool = False) -> None:
        self._bits, self._must = bits, must
        self._backends: dict[str, list[GemmBackend]] = {}

    def __call__(self, request: Request) -> Route:
        """Open the route of a request.

        Raises
        ------
        InputError
            If a fused route must be found and there is none.
        """
        kind = request.device.type
        if kind not in self._backends and (self._must or kind != "cpu"):
            self._backends[kind] = _fused_backends(kind, self._bits)
        reasons = []
        for backend in self._backends.get(kind, []):
            try:
                return open_route(request, FUSED, backend)
            except UnsupportedError as error:
                reasons.append(f"{backend.name}: {error}")
        if self._must:
            found = "; ".join(reasons) or f"no backend has one on the device {kind!r}"
            raise InputError(f"strategy {FUSED!r}: {found}")
        return SimulatedRoute(request)


def _is_fused(strategy: str | StrategyChoice | Strategy) -> bool:
    """Whether a strategy stands for the backend's own route."""
    return (
        not isinstance(strategy, Strategy)
        and (strategy if isinstance(strategy, str) else strategy.name) == FUSED
    )


def _fused_backends(kind: str, bits: PerOperand[int]) -> list[GemmBackend]:
    """Return the backends that define a fused route and run on a kind of device."""
    found = []
    for name in list_backends():
        try:
            backend = load_backend(name)
            status = backend.status()
        except Exception as error:  # a plug-in may raise anything
            warnings.warn(f"backend {name!r} is left out: {error}", stacklevel=2)
            continue
        here = status.available and str(status.device).partition(":")[0] == kind
        if here and type(backend).fused is not GemmBackend.fused:
            found.append(backend.for_bits(bits.a, bits.b))
    return found
