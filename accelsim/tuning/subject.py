"""What is examined: a model with what it reads, and how far a result is from that of floats."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from accelsim.config.document import content_hash
from accelsim.config.plans import Plan
from accelsim.tuning.target import Target

Say = Callable[[str], None]


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


class Reading(ABC):
    """A model with its input, and what it made of that in floating point."""

    @abstractmethod
    def run(self) -> Any:
        """Run the model; return all that it returns."""

    @abstractmethod
    def harm(self) -> Harm:
        """Run the model as it is now, and compare it with what it was in the beginning."""


class Verification(ABC):
    """The quality of plans on what a search uses and on what it does not see.

    Attributes
    ----------
    floats : tuple of float
        The metric of floats on both.
    source : dict
        What was read, for the key of counts.
    """

    floats: tuple[float, float]
    source: dict[str, Any]

    @abstractmethod
    def run_one(self) -> None:
        """Run the model on a part of what the search uses."""

    @abstractmethod
    def values(self, plan: Plan) -> tuple[float, float]:
        """Return the metric under a plan, on what the search uses and on what it does not see.

        Parameters
        ----------
        plan : Plan
            It has settings for every GEMM.
        """

    def harm(self, target: Target, values: tuple[float, float]) -> float:
        """Return the worse of two values beside floats; see `Target.harm`."""
        pairs = zip(values, self.floats, strict=True)
        return max(target.harm(value, floats) for value, floats in pairs)


class Subject(ABC):
    """A model, and what it reads.

    Attributes
    ----------
    name : str
        Of the model.
    model : nn.Module
        The model itself.
    source : dict
        What it reads, as JSON values.
    metrics : tuple of str
        Of targets that it may have; see `Target`.
    replays : bool
        Whether what the model computed before a layer may stand for computing it again.
    """

    name: str
    model: nn.Module
    source: dict[str, Any]
    metrics: tuple[str, ...]
    replays = True

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of what it reads."""
        return content_hash(self.source)

    @abstractmethod
    def readings(self, count: int, tokens: int) -> Sequence[Reading]:
        """Return what sensitivities are measured on.

        Parameters
        ----------
        count, tokens : int
            How many windows of a text, of how many tokens.
        """

    @abstractmethod
    def verification(self, count: int, tokens: int, say: Say) -> Verification:
        """Return what verifies plans.

        Parameters
        ----------
        count, tokens : int
            How many windows of a text, of how many tokens, for the search, and as many between.
        say : callable
            Called with the progress.
        """
