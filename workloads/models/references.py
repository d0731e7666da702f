"""Python objects that the command line names: ``module:name`` or ``path/to/file.py:name``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from accelsim.errors import InputError, unknown_name
from accelsim.plugins.registry import split_reference
from workloads.models.runnable import Runnable, apply, loss_of_output


def resolve(reference: str, option: str) -> Any:
    """Import what a reference names.

    Parameters
    ----------
    reference : str
        ``module:name``, where the current folder is looked in first, or ``path/to/file.py:name``.
    option : str
        The option it was given by, for messages.

    Raises
    ------
    InputError
        If there is no such module or no such name in it.
    """
    module_name, colon, name = reference.rpartition(":")
    if not colon or not module_name or not name:
        raise InputError(f"{option} {reference}: expected module:name or path/to/file.py:name")
    module = _import(reference, module_name, option)
    if not hasattr(module, name):
        known = [key for key in vars(module) if not key.startswith("_")]
        raise InputError(f"{option} {reference}: {unknown_name('name', name, known)}")
    return getattr(module, name)


def _import(reference: str, module_name: str, option: str) -> ModuleType:
    file = split_reference(reference)
    if file is not None and not file[0].is_file():
        raise InputError(f"{option} {reference}: there is no such file")
    try:
        if file is None:
            here = str(Path.cwd())
            if here not in sys.path:
                sys.path.insert(0, here)
            return importlib.import_module(module_name)
        name = Path(file[0]).stem
        spec = importlib.util.spec_from_file_location(name, file[0])
        assert spec is not None, "a .py file has a loader"
        assert spec.loader is not None, "a .py file has a loader"
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(name, module)
        spec.loader.exec_module(module)
    except Exception as error:
        message = f"{option} {reference}: cannot be imported: {type(error).__name__}: {error}"
        raise InputError(message) from error
    return module


def user_runnable(model: str, batch: str, loss: str | None) -> Runnable:
    """Make a user's own model ready to run.

    Parameters
    ----------
    model : str
        Reference to an ``nn.Module``, or to a function without arguments that makes one.
    batch : str
        Reference to its input, or to a function that makes it: a mapping gives keyword arguments, a
        tuple or list positional ones, any other value is the only argument.
    loss : str, optional
        Reference to a function of the output; the output's own loss by default.

    Raises
    ------
    InputError
        If a reference cannot be resolved or gives something else.
    """
    torch.manual_seed(0)
    module = resolve(model, "--model")
    made = module if isinstance(module, nn.Module) else _call(module, model, "--model")
    if not isinstance(made, nn.Module):
        raise InputError(f"--model {model}: gives {type(made).__name__}; expected an nn.Module")
    found = resolve(batch, "--input")
    values = _call(found, batch, "--input") if callable(found) else found
    return Runnable(
        made,
        partial(apply, made, values),
        {"model": model, "input": batch, "torch": torch.__version__},
        loss_of_output if loss is None else resolve(loss, "--loss"),
    )


def _call(function: Any, reference: str, option: str) -> Any:
    if not callable(function):
        raise InputError(f"{option} {reference}: {type(function).__name__} cannot be called")
    try:
        return function()
    except Exception as error:
        message = f"{option} {reference}: failed: {type(error).__name__}: {error}"
        raise InputError(message) from error
