"""The model that is examined, on the text that it reads, and how far a result is from floats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, log_softmax

from accelsim.errors import InputError
from accelsim.parity.quality import windows
from workloads.models.huggingface import Loaded, load
from workloads.models.opening import load_catalog_model
from workloads.models.text import Text, read_text


@dataclass(frozen=True)
class Harm:
    """The difference that rounding makes, mean over what was read.

    Parameters
    ----------
    loss : float
        Cross-entropy in nats a token beyond that of floats, of a language model; for an encoder,
        one minus the cosine of its embeddings to those of floats.
    divergence : float
        The Kullback-Leibler divergence of the predictions from those of floats, in nats a token; of
        an encoder, the same as `loss`. It is never negative, and has no noise of the text.
    """

    loss: float
    divergence: float

    @classmethod
    def mean(cls, several: Sequence[Harm]) -> Harm:
        """Return the mean over windows of the same length."""
        count = len(several)
        return cls(sum(x.loss for x in several) / count, sum(x.divergence for x in several) / count)


class Reading:
    """A model that reads one window of a text.

    Parameters
    ----------
    model : nn.Module
        A causal language model or an encoder.
    window : Tensor
        int64 ``[tokens]``.
    generates : bool
        Whether it is a language model.
    """

    def __init__(self, model: nn.Module, window: Tensor, generates: bool) -> None:
        self._model, self._window, self._generates = model, window, generates
        self._reference = self._result()

    def run(self) -> Any:
        """Run the model; return all that it returns."""
        ids = self._window[None]
        with torch.no_grad():
            if self._generates:
                return self._model(input_ids=ids, use_cache=False)
            return self._model(input_ids=ids, attention_mask=torch.ones_like(ids))

    def harm(self) -> Harm:
        """Run the model as it is now, and compare it with what it was in the beginning."""
        found, reference = self._result(), self._reference
        if not self._generates:
            away = 1 - float(cosine_similarity(found, reference, dim=-1))
            return Harm(away, away)
        loss = _loss(found, self._window) - _loss(reference, self._window)
        parts = self._probabilities * (reference - found)
        return Harm(loss, float(parts.sum(dtype=torch.float64)) / len(found))

    @cached_property
    def _probabilities(self) -> Tensor:
        return self._reference.exp()

    def _result(self) -> Tensor:
        output = self.run()
        if self._generates:
            logits: Tensor = output.logits[0, :-1]
            return log_softmax(logits.float(), dim=-1)
        hidden: Tensor = output.last_hidden_state[0]
        return hidden.mean(0).double()


def _loss(log_probabilities: Tensor, window: Tensor) -> float:
    right = log_probabilities.gather(1, window[1:, None])
    return -float(right.mean(dtype=torch.float64))


@dataclass(frozen=True)
class Subject:
    """A model, and what it reads.

    Parameters
    ----------
    name : str
        Of the model.
    loaded : Loaded
        The model.
    text : Text
        What it reads.
    ids : Tensor
        int64, all tokens of the text.
    """

    name: str
    loaded: Loaded
    text: Text
    ids: Tensor

    @property
    def model(self) -> nn.Module:
        """The model itself."""
        return self.loaded.model

    def readings(self, count: int, tokens: int, held_out: bool = False) -> list[Reading]:
        """Return windows of the text, evenly spaced; those held out lie between the others.

        Raises
        ------
        InputError
            If the text is too short for windows that do not overlap.
        """
        if len(self.ids) < 2 * count * tokens:
            raise InputError(
                f"the text has {len(self.ids):,} tokens, too few for {2 * count} windows of "
                f"{tokens}, half of them held out"
            )
        both = windows(self.ids, 2 * count, tokens)
        return [Reading(self.model, window, self.loaded.generates) for window in both[held_out::2]]


def open_subject(
    model: str, gguf: str | None, text: Path | None, say: Callable[[str], None]
) -> Subject:
    """Load a model and the text that it reads.

    Parameters
    ----------
    model : str
        In the catalog, or the path of a folder.
    gguf : str or None
        The name of a GGUF file in that folder.
    text : Path or None
        A UTF-8 file; by default the shipped text.
    say : callable
        Called with what is being done.

    Raises
    ------
    InputError
        If there is no such model, or it cannot be loaded.
    """
    folder = Path(model)
    loaded = load(folder, gguf) if folder.is_dir() else load_catalog_model(model, say)
    content = read_text(text)
    ids = loaded.tokenizer(content.content, add_special_tokens=False, verbose=False)["input_ids"]
    return Subject(folder.name, loaded, content, torch.tensor(ids, device="cpu"))
