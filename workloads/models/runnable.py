"""A model with an input: all that it takes to run its GEMMs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from accelsim.errors import InputError


def loss_of_output(output: Any) -> Tensor:
    """Return a model's own loss: its output's ``loss``, or an output that is one number.

    Raises
    ------
    InputError
        If there is none.
    """
    found = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", output)
    if isinstance(found, Tensor) and found.numel() == 1:
        return found
    raise InputError(
        f"the model's output is {type(output).__name__} and has no loss; "
        "give a function of the output with --loss module:function"
    )


@dataclass(frozen=True)
class Runnable:
    """A model, one batch for it, and the loss of a training step.

    Parameters
    ----------
    model : nn.Module
        In the mode, training or evaluation, in which it is to run.
    forward : callable
        Runs the model on the batch and returns its output.
    source : dict
        What a bundle says of where its operands come from.
    loss : callable
        Makes one number of the output.
    """

    model: nn.Module
    forward: Callable[[], Any]
    source: dict[str, Any]
    loss: Callable[[Any], Tensor] = field(default=loss_of_output)

    def run(self, backward: bool) -> None:
        """Run the forward pass, and the backward pass if wanted; the same every time.

        The weights keep no gradient.
        """
        torch.manual_seed(0)
        if not backward:
            with torch.no_grad():
                self.forward()
            return
        try:
            with torch.enable_grad():
                self.loss(self.forward()).backward()  # type: ignore[no-untyped-call]
        finally:
            self.model.zero_grad(set_to_none=True)


def apply(model: nn.Module, batch: Any) -> Any:
    """Call a model on a batch: a mapping gives keywords, a tuple or list positional arguments."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, tuple | list) else model(batch)
