"""Linear layers that ran before: what has to be looked up for their products is looked up once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from accelsim.integer_mode.weights import Kept, View, Weights
from accelsim.types import PreparedOperand, Request, Route
from workloads.tracing import GemmCall


@dataclass(slots=True)
class LinearLayer:
    """A linear layer whose product was computed with its own weight, prepared.

    Parameters
    ----------
    weight : nn.Parameter
        The weight, operand B.
    view : tuple
        Its place in its memory.
    kept : Kept
        The state in which it was prepared.
    prepared : PreparedOperand
        What was prepared.
    request : Request
        What the route was opened for.
    route : Route
        What multiplies.
    """

    weight: nn.Parameter
    view: View
    kept: Kept
    prepared: PreparedOperand
    request: Request
    route: Route

    def takes(self, x: Any, weight: Any, bias: Any) -> bool:
        """Whether the layer runs on the same kinds of tensors, with the same weight.

        Parameters
        ----------
        x, weight, bias : Tensor or None
            The arguments of ``aten::linear``.
        """
        request = self.request
        return (
            weight is self.weight
            and type(x) is Tensor
            and x.dtype is request.dtype
            and x.device == request.device
            and x.layout is torch.strided
            and x.ndim > 1
            and x.shape[-1] == request.shape[2]
            and (bias is None or type(bias) is nn.Parameter)
            and not x.is_nested
            and x.numel() > 0
        )


def layer_of(
    call: GemmCall, request: Request, route: Route, prepared: PreparedOperand, weights: Weights
) -> LinearLayer | None:
    """Return what there is to keep of a product that just ran; None unless it is a linear layer's.

    Parameters
    ----------
    call : GemmCall
        The product.
    request, route : Request and Route
        What it was computed for, and by.
    prepared : PreparedOperand
        Its operand B.
    weights : Weights
        What keeps it.
    """
    if (
        call.site.op != "linear"
        or call.phase != "forward"
        or call.flipped
        or type(call.b) is not nn.Parameter
        or request.names.a != "activations"
    ):
        return None
    view, kept = weights.kept(call.b)
    return LinearLayer(call.b, view, kept, prepared, request, route)
