"""Quality of a model: perplexity of a language model, similarity of an encoder's embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy

from accelsim.errors import InputError


@dataclass(frozen=True)
class Quality:
    """The quality of a model.

    Parameters
    ----------
    metric : str
        ``perplexity`` or ``cosine to float``.
    value : float
        The metric.
    """

    metric: str
    value: float


def windows(tokens: Tensor, count: int, length: int) -> Tensor:
    """Cut evenly spaced windows out of a text's tokens.

    Parameters
    ----------
    tokens : Tensor
        int64 ``[N]``.
    count, length : int
        How many windows, of how many tokens: the i-th starts at ``i * (N // count)``.

    Returns
    -------
    Tensor
        ``[count, length]``.

    Raises
    ------
    InputError
        If the text is too short.
    """
    step = len(tokens) // count
    if step < length and len(tokens) - (count - 1) * step < length:
        raise InputError(
            f"the text has {len(tokens):,} tokens, too few for {count} windows of {length}"
        )
    return torch.stack([tokens[i * step : i * step + length] for i in range(count)])


def perplexity(
    model: nn.Module, inputs: Tensor, tell: Callable[[int], None] = lambda number: None
) -> Quality:
    """Return ``exp`` of the mean cross-entropy of every token but the first of each window.

    Parameters
    ----------
    model : nn.Module
        A causal language model that returns an object with ``logits``.
    inputs : Tensor
        int64 ``[windows, tokens]``.
    tell : callable, optional
        Called with the number of each window when it is done, from 1.
    """
    total = 0.0
    for number, window in enumerate(inputs, start=1):
        with torch.no_grad():
            logits = model(input_ids=window[None], use_cache=False).logits[0, :-1]
        losses = cross_entropy(logits.double(), window[1:], reduction="none")
        total += float(losses.sum())
        tell(number)
    mean = torch.tensor(total / inputs[:, 1:].numel(), dtype=torch.float64, device="cpu")
    return Quality("perplexity", float(mean.exp()))


def embeddings(
    model: nn.Module, inputs: Tensor, tell: Callable[[int], None] = lambda number: None
) -> Tensor:
    """Return an encoder's sentence embeddings ``[windows, width]``: means over its tokens.

    Parameters
    ----------
    model : nn.Module
        An encoder that returns an object with ``last_hidden_state``.
    inputs : Tensor
        int64 ``[windows, tokens]``.
    tell : callable, optional
        Called with the number of each window when it is done, from 1.
    """
    found = []
    for number, window in enumerate(inputs, start=1):
        with torch.no_grad():
            output = model(input_ids=window[None], attention_mask=torch.ones_like(window[None]))
        found.append(output.last_hidden_state[0].mean(0))
        tell(number)
    return torch.stack(found)


def likeness(found: Tensor, reference: Tensor) -> Quality:
    """Return the mean cosine of embeddings to those of the model in floating point."""
    cosines = cosine_similarity(found.double(), reference.double(), dim=-1)
    return Quality("cosine to float", float(cosines.mean()))
