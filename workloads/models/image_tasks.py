"""Tasks on images: handwritten digits, and glyphs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from accelsim.errors import InputError, unknown_name
from accelsim.plugins.extras import need
from workloads.models.corpora.glyphs import CLASSES, SIDE, glyphs
from workloads.models.small import SmallViT
from workloads.models.task import Task, generator

EVALUATED = 2048
"""Held-out images of an evaluation are about so many, evenly spaced, if there are more."""


class _Images(NamedTuple):
    """Images ``[N, 1, side, side]`` with labels, and how a model reads them."""

    train: tuple[Tensor, Tensor]
    held_out: tuple[Tensor, Tensor]
    side: int
    patch: int
    classes: int
    source: dict[str, Any]


def _digits() -> _Images:
    digits = need("sklearn.datasets", "models").load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32, device="cpu")[:, None] / 16
    labels = torch.tensor(digits.target, device="cpu")
    held_out = torch.arange(len(labels), device="cpu") % 5 == 0
    return _Images(
        (images[~held_out], labels[~held_out]),
        (images[held_out], labels[held_out]),
        side=8,
        patch=2,
        classes=10,
        source={"data": "scikit-learn load_digits (UCI optical recognition of digits)"},
    )


def _glyphs() -> _Images:
    found = glyphs()
    return _Images(found.train, found.held_out, SIDE, 4, len(CLASSES), found.source)


IMAGES = {"digits": _digits, "glyphs": _glyphs}
"""The images by name: scikit-learn's 1,797 digits, every fifth of which is held out; and glyphs."""


class ImageTask(Task):
    """Classify small images with a vision Transformer.

    Parameters
    ----------
    batch : int
        Images of a batch.
    width, layers, heads : int
        Of the model.
    data : str
        Of `IMAGES`.
    """

    metric = "held-out accuracy"

    def __init__(
        self,
        batch: int = 64,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        data: str = "digits",
    ) -> None:
        if data not in IMAGES:
            raise InputError(unknown_name("images", data, IMAGES))
        found = IMAGES[data]()
        self._batch = batch
        self._sizes = {"width": width, "layers": layers, "heads": heads}
        self._sizes |= {"side": found.side, "patch": found.patch, "classes": found.classes}
        self._train, self.source = found.train, found.source
        each = max(1, len(found.held_out[1]) // EVALUATED)
        self._held_out = tuple(x[::each] for x in found.held_out)

    @property
    def held_out(self) -> tuple[Tensor, Tensor]:
        """Images that no batch has, and their labels."""
        images, labels = self._held_out
        return images, labels

    def model(self) -> SmallViT:
        """Make a vision Transformer."""
        return SmallViT(**self._sizes)

    def batch(self, step: int, seed: int) -> tuple[Tensor, Tensor]:
        """Return images ``[batch, 1, side, side]`` and their labels."""
        images, labels = self._train
        drawn = torch.randint(
            len(labels), (self._batch,), generator=generator(step, seed), device="cpu"
        )
        return images[drawn], labels[drawn]

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean cross-entropy in nats."""
        device = next(model.parameters()).device
        return cross_entropy(model(batch[0].to(device)), batch[1].to(device))

    def evaluate(self, model: nn.Module) -> float:
        """Return the share of held-out images that are classified correctly."""
        device = next(model.parameters()).device
        images, labels = self._held_out
        with torch.no_grad():
            right = model(images.to(device)).argmax(-1).cpu() == labels
        return float(right.float().mean())
