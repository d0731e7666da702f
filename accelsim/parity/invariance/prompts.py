"""Prompts of a causal language model, run in batches, padded, with a cache."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from accelsim.errors import InputError

Padding: TypeAlias = Literal["left", "right"]


@dataclass(frozen=True)
class Row:
    """A row of a batch.

    Parameters
    ----------
    prompt : int or None
        Which prompt it is; None for one whose logits are not wanted.
    ids : Tensor
        int64 ``[tokens]``: the prompt, or the next tokens of it.
    last : int, optional
        How many of the tokens, counted from the end, have logits that are wanted; all by default.
    """

    prompt: int | None
    ids: Tensor
    last: int | None = None

    @property
    def wanted(self) -> int:
        """How many tokens have logits that are wanted."""
        return len(self.ids) if self.last is None else self.last


@dataclass(frozen=True)
class Position:
    """The place of one prompt in a forward pass.

    Parameters
    ----------
    row, rows : int
        Its row of the batch, and how many there are.
    start, tokens : int
        The place in the row of the first token that is wanted, and how many there are.
    first_key, keys : int
        The same of its keys, those in the cache included.
    width : int
        Places of a row.
    past : int
        Tokens that lie in the cache.
    """

    row: int
    rows: int
    start: int
    tokens: int
    first_key: int
    keys: int
    width: int
    past: int


class Watcher(Protocol):
    """What is told where the prompt that it watches lies in the next forward pass."""

    prompt: int

    def begin(self, position: Position) -> None:
        """Take the position."""


class Session:
    """Runs rows of prompts through a model and returns each prompt's logits.

    Parameters
    ----------
    model : nn.Module
        A causal language model of Hugging Face.
    watcher : Watcher, optional
        What is told about a prompt's position.
    """

    def __init__(self, model: nn.Module, watcher: Watcher | None = None) -> None:
        self._model, self._watcher = model, watcher

    def run(
        self,
        rows: Sequence[Row],
        padding: Padding = "right",
        extra: int = 0,
        cache: Any = None,
        past: int = 0,
    ) -> dict[int, Tensor]:
        """Run a batch once.

        Parameters
        ----------
        rows : sequence of Row
            The batch.
        padding : {"left", "right"}
            Where shorter rows are filled up.
        extra : int
            How many places more than the longest row there are.
        cache : object, optional
            Keys and values of `past` tokens, to which those of the rows are added; needs rows of
            one length.
        past : int
            Tokens in the cache.

        Returns
        -------
        dict
            Prompt to logits ``[tokens, words]`` of the tokens that are wanted.
        """
        device = next(self._model.parameters()).device
        width = max(len(row.ids) for row in rows) + extra
        ids = torch.zeros(len(rows), width, dtype=torch.int64, device="cpu")
        real = torch.zeros_like(ids)
        starts = [width - len(row.ids) if padding == "left" else 0 for row in rows]
        for index, (row, start) in enumerate(zip(rows, starts, strict=True)):
            ids[index, start : start + len(row.ids)] = row.ids
            real[index, start : start + len(row.ids)] = 1
        for index, (row, start) in enumerate(zip(rows, starts, strict=True)):
            if self._watcher is not None and row.prompt == self._watcher.prompt:
                skipped, keys = len(row.ids) - row.wanted, past + len(row.ids)
                self._watcher.begin(
                    Position(
                        index,
                        len(rows),
                        start + skipped,
                        row.wanted,
                        start,
                        keys,
                        width,
                        past,
                    )
                )
        options: dict[str, Any] = {}
        if not bool(real.all()):
            positions = (real.cumsum(1) - 1).clamp_min(0)
            options = {"attention_mask": real.to(device), "position_ids": positions.to(device)}
        if cache is not None:
            # transformers has renamed it.
            named = "cache" in inspect.signature(self._model.forward).parameters
            options["cache" if named else "past_key_values"] = cache
        done = self._model(input_ids=ids.to(device), use_cache=cache is not None, **options)
        return {
            row.prompt: done.logits[index, start : start + len(row.ids)][-row.wanted :].cpu()
            for index, (row, start) in enumerate(zip(rows, starts, strict=True))
            if row.prompt is not None
        }


def cut_prompts(ids: Sequence[int], count: int, tokens: int) -> list[Tensor]:
    """Cut prompts of different lengths out of a text, the longest first.

    Parameters
    ----------
    ids : sequence of int
        The text.
    count : int
        How many.
    tokens : int
        Of the longest; each further one has a token less.

    Raises
    ------
    InputError
        If the text is too short, or no token is left for the last one.
    """
    if tokens < count + 1:
        raise InputError(f"tokens: found {tokens}; expected at least {count + 1}")
    step = len(ids) // count
    if step < tokens:
        raise InputError(
            f"the text has {len(ids):,} tokens, too few for {count} prompts of {tokens}"
        )
    whole = torch.tensor(ids, device="cpu")
    return [whole[i * step : i * step + tokens - i] for i in range(count)]
