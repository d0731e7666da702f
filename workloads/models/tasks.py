"""Tasks of the small models: English text by characters, and handwritten digits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from accelsim.plugins.extras import need
from workloads.models.small import SmallGPT, SmallViT
from workloads.models.text import shipped_text


class Task(ABC):
    """A model to be trained from scratch, with its data; a seed decides everything.

    Attributes
    ----------
    source : dict
        What the data are, for a bundle or a result.
    metric : str
        What `evaluate` returns.
    """

    source: dict[str, Any]
    metric: str

    @abstractmethod
    def model(self) -> nn.Module:
        """Make a model, with weights from torch's generator."""

    @abstractmethod
    def batch(self, step: int, seed: int) -> Any:
        """Return the training batch of a step, always the same one."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Return a model's loss on a batch."""

    @abstractmethod
    def evaluate(self, model: nn.Module) -> float:
        """Return the metric on data that no batch has."""


def _generator(step: int, seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(1_000_003 * seed + step)


class TextTask(Task):
    """Predict the next character of the shipped English text; its last tenth is held out.

    Parameters
    ----------
    batch : int
        Sequences of a batch.
    context : int
        Characters of a sequence.
    width, layers, heads : int
        Of the model.
    """

    metric = "held-out loss"

    def __init__(
        self, batch: int = 16, context: int = 64, width: int = 64, layers: int = 2, heads: int = 4
    ) -> None:
        self._batch, self._context = batch, context
        self._model = {"width": width, "layers": layers, "heads": heads}
        text = shipped_text()
        self.source = dict(text.source)
        letters = sorted(set(text.content))
        number = {letter: index for index, letter in enumerate(letters)}
        tokens = torch.tensor([number[letter] for letter in text.content], device="cpu")
        self._vocabulary = len(letters)
        cut = len(tokens) * 9 // 10
        self._train, self._held_out = tokens[:cut], tokens[cut:]

    def model(self) -> SmallGPT:
        """Make a GPT."""
        return SmallGPT(self._vocabulary, self._context, **self._model)

    def batch(self, step: int, seed: int) -> Tensor:
        """Return ``[batch, context + 1]`` characters from random places."""
        last = len(self._train) - self._context
        starts = torch.randint(last, (self._batch,), generator=_generator(step, seed), device="cpu")
        return self._at(self._train, starts)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats a character."""
        device = next(model.parameters()).device
        scores = model(batch[:, :-1].to(device))
        return cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten().to(device))

    def evaluate(self, model: nn.Module) -> float:
        """Return the mean cross-entropy on 64 evenly spaced sequences that are held out."""
        starts = torch.arange(64, device="cpu") * (len(self._held_out) - self._context - 1) // 64
        with torch.no_grad():
            return float(self.loss(model, self._at(self._held_out, starts)))

    def _at(self, tokens: Tensor, starts: Tensor) -> Tensor:
        return tokens[starts[:, None] + torch.arange(self._context + 1, device="cpu")]


class DigitsTask(Task):
    """Classify scikit-learn's 1,797 handwritten digits; every fifth is held out.

    Parameters
    ----------
    batch : int
        Images of a batch.
    width, layers, heads : int
        Of the model.
    """

    metric = "held-out accuracy"

    def __init__(self, batch: int = 64, width: int = 64, layers: int = 2, heads: int = 4) -> None:
        self._batch = batch
        self._model = {"width": width, "layers": layers, "heads": heads}
        self.source = {"data": "scikit-learn load_digits (UCI optical recognition of digits)"}
        digits = need("sklearn.datasets", "models").load_digits()
        images = torch.tensor(digits.images, dtype=torch.float32, device="cpu")[:, None] / 16
        labels = torch.tensor(digits.target, device="cpu")
        held_out = torch.arange(len(labels), device="cpu") % 5 == 0
        self._train = images[~held_out], labels[~held_out]
        self._held_out = images[held_out], labels[held_out]

    def model(self) -> SmallViT:
        """Make a vision Transformer."""
        return SmallViT(**self._model)

    def batch(self, step: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return images ``[batch, 1, 8, 8]`` and their labels."""
        images, labels = self._train
        drawn = torch.randint(
            len(labels), (self._batch,), generator=_generator(step, seed), device="cpu"
        )
        return images[drawn], labels[drawn]

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean cross-entropy in nats."""
        device = next(model.parameters()).device
        return cross_entropy(model(batch[0].to(device)), batch[1].to(device))

    def evaluate(self, model: nn.Module) -> float:
        """Return the share of the held-out digits that are classified correctly."""
        device = next(model.parameters()).device
        images, labels = self._held_out
        with torch.no_grad():
            right = model(images.to(device)).argmax(-1).cpu() == labels
        return float(right.float().mean())


TASKS: dict[str, type[TextTask] | type[DigitsTask]] = {"gpt": TextTask, "vit": DigitsTask}
"""The tasks by the name of their model."""
