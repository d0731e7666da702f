"""Open what is examined, by the name of a model."""

from __future__ import annotations

from pathlib import Path

import torch

from accelsim.errors import InputError
from accelsim.records.tuning import ACCURACY, LOSS
from accelsim.tuning.subject import Say, Subject
from accelsim.tuning.target import EXAMPLES, Target
from accelsim.tuning.tasks import ImageSubject, TrainingSubject
from accelsim.tuning.texts import TextSubject
from workloads.models.catalog import catalog, find_weights
from workloads.models.huggingface import load
from workloads.models.image_tasks import ImageTask
from workloads.models.opening import load_catalog_model, trained
from workloads.models.tasks import TASKS
from workloads.models.text import read_text

CLASSIFIER_STEPS = 400
"""Steps of training after which a small classifier is right nearly as often as it gets."""


def check_model(model: str) -> None:
    """See that there is a model of a name, before anything is loaded.

    Parameters
    ----------
    model : str
        In the catalog, or the path of a folder.

    Raises
    ------
    InputError
        If there is none, or it cannot be examined.
    """
    own = [name for name, entry in catalog().items() if entry.train is not None]
    if model not in own and not Path(model).is_dir():
        find_weights(model, own)


def reads_text(model: str) -> bool:
    """Whether a model reads text; one that is trained here has data of its own.

    Parameters
    ----------
    model : str
        In the catalog, or the path of a folder.
    """
    if Path(model).is_dir():
        return True
    return model not in catalog() or catalog()[model].train is None


def open_subject(
    model: str, gguf: str | None, text: Path | None, say: Say, target: Target | None = None
) -> Subject:
    """Load a model and what it reads.

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
    target : Target, optional
        What is asked of plans. A model that is trained here is examined in training if the target
        is a loss, and without one if it classifies nothing.

    Raises
    ------
    InputError
        If there is no such model, it cannot be loaded, or its target is another.
    """
    folder = Path(model)
    if not reads_text(model):
        if gguf is not None or text is not None:
            raise InputError(f"--gguf and --text: {model} is trained here, on data of its own")
        return _open_trained(model, say, target)
    loaded = load(folder, gguf) if folder.is_dir() else load_catalog_model(model, say)
    content = read_text(text)
    ids = loaded.tokenizer(content.content, add_special_tokens=False, verbose=False)["input_ids"]
    subject = TextSubject(folder.name, loaded, content, torch.tensor(ids, device="cpu"))
    if target is not None:
        target.check(subject.name, subject.metrics)
    return subject


def _open_trained(model: str, say: Say, target: Target | None) -> Subject:
    classifies = TASKS[catalog()[model].train or ""] is ImageTask
    if target is not None:
        target.check(model, (ACCURACY, LOSS) if classifies else (LOSS,))
    if classifies and (target is None or target.metric == ACCURACY):
        found = trained(model, say=say, steps=CLASSIFIER_STEPS)
        assert isinstance(found.task, ImageTask)
        return ImageSubject(model, found.task, found)
    found = trained(model, say=say)
    asked = target or Target.parse(EXAMPLES[LOSS])
    return TrainingSubject(model, found.task, found, asked.steps)
