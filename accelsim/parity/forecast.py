"""Roughly how long the treatments of a model take, from a sample of its layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from accelsim.errors import AccelsimError
from accelsim.integer_mode.replacing import ALL
from accelsim.parity.progress import ExpectedTime
from accelsim.parity.storage import weight_storage
from accelsim.parity.treatments import Treatment

BUDGET_S = 10.0
"""Time limit of sampling, in seconds; further treatments are assumed to cost what the sampled ones
do."""

TOKENS = 64
"""The longest sample, in tokens."""


def forecast(
    model: nn.Module, run: Callable[[Tensor], Any], inputs: Tensor, treatments: Sequence[Treatment]
) -> list[ExpectedTime]:
    """Return what a window of a text and all that is done once cost under each treatment.

    One of a model's equal blocks runs twice on a few tokens under each treatment: the first time
    its weights are rounded too. The times grow with the tokens and with the weights. If there is
    time, a second sample is taken and the faster one counts: the first loads what is needed.

    Parameters
    ----------
    model : nn.Module
        Any model; without a list of blocks the whole of it is the sample.
    run : callable
        Runs the model on windows ``[windows, tokens]``.
    inputs : Tensor
        All windows.
    treatments : sequence of Treatment
        Which.
    """
    few = inputs[:1, :TOKENS]
    block = _block(model)
    start = time.perf_counter()
    with _calls(block) as calls:
        run(few)
    if not calls:
        return [ExpectedTime(0.0) for _ in treatments]
    arguments, options = calls[0]
    layers = _weights(model) / max(1, _weights(block))
    length = inputs.shape[1] / few.shape[1]
    costs: list[ExpectedTime] = []
    for treatment in treatments:
        alike = [
            cost
            for how, cost in zip(treatments, costs, strict=False)
            if how.method == treatment.method
        ]
        if alike and time.perf_counter() - start > BUDGET_S:
            costs.append(_mean(alike))
            continue
        first, again, stored = _sample(block, treatment, arguments, options)
        if time.perf_counter() - start < BUDGET_S:
            more = _sample(block, treatment, arguments, options)
            first, again, stored = map(min, zip((first, again, stored), more, strict=True))
        before = max(0.0, first - again) * layers
        costs.append(ExpectedTime(again * layers * length, before, stored * layers))
    return costs


def _block(model: nn.Module) -> nn.Module:
    """Return the first block of the list that has most of a model's weights."""
    lists = [found for found in model.modules() if isinstance(found, nn.ModuleList) and len(found)]
    return max(lists, key=_weights)[0] if lists else model


def _weights(module: nn.Module) -> int:
    """Return the number of weights that are multiplied: those of embeddings are only looked up."""
    modules = [found for found in module.modules() if not isinstance(found, nn.Embedding)]
    weights = {x.data_ptr(): x for found in modules for x in found.parameters(recurse=False)}
    return sum(x.numel() for x in weights.values() if x.ndim > 1)


@contextmanager
def _calls(module: nn.Module) -> Iterator[list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """Give the list of the arguments of a module's calls."""
    found: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def note(module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        found.append((arguments, options))

    handle = module.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield found
    finally:
        handle.remove()


def _sample(
    block: nn.Module, treatment: Treatment, arguments: tuple[Any, ...], options: dict[str, Any]
) -> tuple[float, float, float]:
    """Return the seconds of a first call, of a second one, and of counting what weights take."""
    first, again, stored = 0.0, 0.0, 0.0
    with suppress(AccelsimError):  # what fails here fails in the experiment, with its message
        with replace(treatment, selection=ALL).context(block), torch.no_grad():
            first, again = (seconds_of(lambda: block(*arguments, **options)) for _ in range(2))
        if treatment.method == "integers":
            rounding = treatment.rounding.weights
            stored = seconds_of(lambda: weight_storage(block, rounding))
    return first, again, stored


def seconds_of(work: Callable[[], Any]) -> float:
    """Return the seconds that work takes, on a GPU too."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _mean(costs: Sequence[ExpectedTime]) -> ExpectedTime:
    return ExpectedTime(
        *(sum(values) / len(costs) for values in zip(*map(_seconds, costs), strict=True))
    )


def _seconds(cost: ExpectedTime) -> tuple[float, float, float]:
    return cost.each, cost.before, cost.after
