"""Models that are trained here: classifiers on their inputs, and training itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax
from torch.optim import AdamW

from accelsim.config.plans import Plan
from accelsim.integer_mode import integer_gemms
from accelsim.records.tuning import ACCURACY, LOSS
from accelsim.tuning.progress import Progress
from accelsim.tuning.subject import Harm, Reading, Say, Subject, Verification
from workloads.models.image_tasks import ImageTask
from workloads.models.opening import LEARNING_RATE, Trained
from workloads.models.task import Task

EXAMINED = 32
"""Images of the search, the first ones, whose sensitivities are measured."""

COUNTED = 8
"""Images of the search, the first ones, whose digits are counted."""

AFTERWARDS = 8
"""Batches after the last step whose mean loss is that of a training run."""

SEEDS = (0, 1)
"""The weights and batches that a search uses, and those that it does not see."""


class ImageReading(Reading):
    """A classifier on some images.

    Parameters
    ----------
    model : nn.Module
        The classifier.
    images, labels : Tensor
        What it reads, and what is right.
    """

    def __init__(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        self._model, self._images, self._labels = model, images, labels
        self._reference = self._result()

    def run(self) -> Tensor:
        """Run the model; return its scores."""
        with torch.no_grad():
            scores: Tensor = self._model(self._images)
        return scores

    def harm(self) -> Harm:
        """Compare the probabilities of the classes with what they were in the beginning."""
        found, reference = self._result(), self._reference
        right = (reference - found).gather(1, self._labels[:, None])
        divergence = (reference.exp() * (reference - found)).sum(-1)
        return Harm(float(right.mean()), float(divergence.mean()))

    def _result(self) -> Tensor:
        return log_softmax(self.run().double(), dim=-1)


class ImageVerification(Verification):
    """The accuracy of plans on images: every other one is for the search.

    Parameters
    ----------
    subject : ImageSubject
        The classifier.
    """

    def __init__(self, subject: ImageSubject) -> None:
        self._subject, self.source = subject, subject.source
        self.floats = self._accuracies()

    def run_one(self) -> None:
        """Classify some images of the search."""
        with torch.no_grad():
            self._subject.model(self._subject.images(False)[0][:COUNTED])

    def values(self, plan: Plan) -> tuple[float, float]:
        """Return the accuracy under a plan, on the images of the search and on the others."""
        with integer_gemms(self._subject.model, plan=plan):
            return self._accuracies()

    def _accuracies(self) -> tuple[float, float]:
        found = []
        for held_out in (False, True):
            images, labels = self._subject.images(held_out)
            with torch.no_grad():
                right = self._subject.model(images).argmax(-1) == labels
            found.append(float(right.double().mean()))
        return found[0], found[1]


class ImageSubject(Subject):
    """A classifier with the images that it was not trained on.

    Parameters
    ----------
    name : str
        Of the model.
    task : ImageTask
        Its data.
    trained : Trained
        The model.
    """

    metrics = (ACCURACY,)

    def __init__(self, name: str, task: ImageTask, trained: Trained) -> None:
        self.name, self._task = name, task
        self.model, self.source = trained.model, trained.source

    def images(self, held_out: bool) -> tuple[Tensor, Tensor]:
        """Return the images of a search or the others, with their labels."""
        images, labels = self._task.held_out
        return images[held_out::2], labels[held_out::2]

    def readings(self, count: int, tokens: int) -> list[ImageReading]:
        """Return some images of the search."""
        images, labels = self.images(False)
        return [ImageReading(self.model, images[:EXAMINED], labels[:EXAMINED])]

    def verification(self, count: int, tokens: int, say: Say) -> ImageVerification:
        """Return what verifies plans, on both halves of the images."""
        return ImageVerification(self)


class TrainingReading(Reading):
    """A model on one batch of its training.

    Parameters
    ----------
    model : nn.Module
        The model.
    loss : callable
        Returns its loss on the batch.
    """

    def __init__(self, model: nn.Module, loss: Callable[[], Tensor]) -> None:
        self._model, self._loss = model, loss
        self._reference = self._result()

    def run(self) -> Tensor:
        """Compute the gradients; return the loss."""
        self._model.zero_grad()
        loss = self._loss()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def harm(self) -> Harm:
        """Compare the gradients of all parameters with what they were in the beginning."""
        (loss, found), (first, reference) = self._result(), self._reference
        away = float((found - reference).square().sum() / reference.square().sum())
        return Harm(loss - first, away)

    def _result(self) -> tuple[float, Tensor]:
        loss = float(self.run())
        parts = [x.grad.flatten() for x in self._model.parameters() if x.grad is not None]
        found = torch.cat(parts).double()
        self._model.zero_grad()
        return loss, found


class TrainingVerification(Verification):
    """The loss of a task after some steps under plans, from two seeds.

    Parameters
    ----------
    subject : TrainingSubject
        The task.
    say : callable
        Called with the progress.
    """

    def __init__(self, subject: TrainingSubject, say: Say) -> None:
        self._subject, self._say, self.source = subject, say, subject.source
        self.floats = self._losses(None)

    def run_one(self) -> None:
        """Compute the gradients of one batch."""
        self._subject.readings(1, 0)[0].run()
        self._subject.model.zero_grad()

    def values(self, plan: Plan) -> tuple[float, float]:
        """Return the loss after the steps under a plan, from the seed of the search and another."""
        return self._losses(plan)

    def _losses(self, plan: Plan | None) -> tuple[float, float]:
        steps = f"steps in {'floats' if plan is None else 'integers'}"
        progress = Progress(self._say, len(SEEDS) * self._subject.steps, 0, steps)
        tuned, held = (self._loss(plan, seed, lambda: progress.step(steps)) for seed in SEEDS)
        return tuned, held

    def _loss(self, plan: Plan | None, seed: int, taken: Callable[[], None]) -> float:
        task, steps = self._subject.task, self._subject.steps
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = task.model()
        optimizer = AdamW(model.parameters(), lr=LEARNING_RATE)

        def loss(number: int) -> Tensor:
            with nullcontext() if plan is None else integer_gemms(model, plan=plan):
                found = task.loss(model, task.batch(number, seed))
                if torch.is_grad_enabled():
                    found.backward()  # type: ignore[no-untyped-call]
            return found.detach()

        for step in range(steps):
            optimizer.zero_grad()
            loss(step)
            optimizer.step()
            taken()
        with torch.no_grad():
            return sum(float(loss(steps + batch)) for batch in range(AFTERWARDS)) / AFTERWARDS


class TrainingSubject(Subject):
    """A task that a model is trained on, from scratch.

    Sensitivities are those of the gradients of a model that was trained for a while.

    Parameters
    ----------
    name : str
        Of the model.
    task : Task
        Its data, and its loss.
    trained : Trained
        The model whose gradients are examined.
    steps : int
        After which the loss is that of a plan.
    """

    metrics = (LOSS,)
    replays = False

    def __init__(self, name: str, task: Task, trained: Trained, steps: int) -> None:
        self.name, self.task, self.steps = name, task, steps
        self.model, self._next = trained.model, trained.steps
        self.source: dict[str, Any] = trained.source

    def readings(self, count: int, tokens: int) -> list[TrainingReading]:
        """Return the batch that would be the next."""
        batch = self.task.batch(self._next, SEEDS[0])
        return [TrainingReading(self.model, lambda: self.task.loss(self.model, batch))]

    def verification(self, count: int, tokens: int, say: Say) -> TrainingVerification:
        """Return what verifies plans, in training runs from two seeds."""
        return TrainingVerification(self, say)
