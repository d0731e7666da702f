"""The route of a case."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.config import RunConfig
from accelsim.errors import UnsupportedError
from accelsim.routes import GeneralRoute, open_route
from accelsim.runner.cases import Case
from accelsim.types import FUSED, PerOperand, Request, Route
from accelsim.unpack import DigitSystem


def request_of(case: Case, operands: tuple[Tensor, Tensor], config: RunConfig) -> Request:
    """Return the request of a case to its route.

    Parameters
    ----------
    case : Case
        What is run.
    operands : tuple of Tensor
        A and B as floats, on the backend's device.
    config : RunConfig
        The settings that all cases share.
    """
    a, b = operands
    dtype = torch.promote_types(a.dtype, b.dtype)
    unpack, names = case.unpack, case.gemm.tensor_names
    return Request(
        shape=(a.shape[:-2].numel(), a.shape[-2], a.shape[-1], b.shape[-2]),
        device=a.device,
        dtype=dtype,
        rounding=case.quantize,
        digits=unpack.bits.map(lambda bits: DigitSystem(unpack.digits, bits)),
        fixed=frozenset(config.timing.prepared),
        output=dtype if case.product == "float" else None,
        k_split=config.k_split,
        block=unpack.block,
        names=PerOperand(
            *(f"{case.gemm.workload}: tensor {name!r}" for name in (names.a, names.b))
        ),
    )


def route_of(case: Case, request: Request, config: RunConfig) -> Route:
    """Open the route of a case.

    Raises
    ------
    UnsupportedError
        If its strategy is ``fused`` and the backend has no such route.
    """
    choice = case.unpack.strategy
    if choice.name == FUSED:
        return open_route(request, choice, case.backend)
    return open_route(request, config.strategy(choice, case.unpack.block), case.backend)


def general_route(case: Case, request: Request, config: RunConfig) -> GeneralRoute:
    """Open the route on which a case is counted without multiplying.

    Raises
    ------
    UnsupportedError
        If its strategy is ``fused``: what such a route does is known when it has run.
    """
    choice = case.unpack.strategy
    if choice.name == FUSED:
        raise UnsupportedError("a fused route counts only what it has run; product is none")
    return GeneralRoute(request, config.strategy(choice, case.unpack.block), case.backend)
