"""Language models and encoders that read windows of a text."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, log_softmax

from accelsim.config.document import content_hash
from accelsim.config.plans import Plan
from accelsim.errors import InputError
from accelsim.integer_mode import integer_gemms
from accelsim.parity.quality import embeddings, likeness, perplexity, windows
from accelsim.records.tuning import COSINE, PERPLEXITY
from accelsim.tuning.progress import Progress
from accelsim.tuning.subject import Harm, Reading, Say, Subject, Verification
from workloads.models.huggingface import Loaded
from workloads.models.text import Text


class TextReading(Reading):
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


class TextVerification(Verification):
    """The quality of plans on the text that a search uses and on the text between.

    Parameters
    ----------
    subject : TextSubject
        The model, and its text.
    count, tokens : int
        How many windows of each text, of how many tokens.
    say : callable
        Called with the progress.
    """

    def __init__(self, subject: TextSubject, count: int, tokens: int, say: Say) -> None:
        self._model, self._generates = subject.model, subject.loaded.generates
        self._say = say
        both = windows(subject.ids, 2 * count, tokens)
        self._texts = both[0::2], both[1::2]
        self.source = {**subject.source, "window": content_hash({"ids": both[0].tolist()})}
        tell = self._progress("windows in floats")
        if self._generates:
            tuned, held = (perplexity(self._model, text, tell).value for text in self._texts)
            self.floats = tuned, held
        else:
            self._references = [embeddings(self._model, text, tell) for text in self._texts]
            self.floats = 1.0, 1.0

    def run_one(self) -> None:
        """Have the model read one window."""
        (perplexity if self._generates else embeddings)(self._model, self._texts[0][:1])

    def values(self, plan: Plan) -> tuple[float, float]:
        """Return the metric under a plan, on the text of the search and on the text between."""
        tell = self._progress("windows in integers")
        with integer_gemms(self._model, plan=plan):
            if self._generates:
                tuned, held = (perplexity(self._model, text, tell).value for text in self._texts)
            else:
                tuned, held = (
                    likeness(embeddings(self._model, text, tell), reference).value
                    for text, reference in zip(self._texts, self._references, strict=True)
                )
        return tuned, held

    def _progress(self, windows: str) -> Callable[[int], None]:
        progress = Progress(self._say, sum(len(text) for text in self._texts), 0, windows)
        return lambda number: progress.step(windows)


class TextSubject(Subject):
    """A model, and the text that it reads.

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

    def __init__(self, name: str, loaded: Loaded, text: Text, ids: Tensor) -> None:
        self.name, self.loaded, self.text, self.ids = name, loaded, text, ids
        self.model, self.source = loaded.model, dict(text.source)
        self.metrics = (PERPLEXITY if loaded.generates else COSINE,)

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the text."""
        return str(self.source["text_sha256"])

    def readings(self, count: int, tokens: int) -> list[TextReading]:
        """Return windows of the text, evenly spaced; those of a verification lie between them too.

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
        return [TextReading(self.model, window, self.loaded.generates) for window in both[0::2]]

    def verification(self, count: int, tokens: int, say: Say) -> TextVerification:
        """Return what verifies plans, on windows of the text and on as many between them."""
        return TextVerification(self, count, tokens, say)
