"""What a training task is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn


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


def generator(step: int, seed: int) -> torch.Generator:
    """Return the generator of the batch of a step."""
    return torch.Generator().manual_seed(1_000_003 * seed + step)
