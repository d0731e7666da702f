"""The module that is running, by hooks on the modules of a model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class RunningModules(threading.local):
    """The names of the modules that are running in this thread, outermost first."""

    def __init__(self) -> None:
        self.names: list[tuple[str, bool]] = []

    @property
    def innermost(self) -> str:
        """The name of the innermost one, or nothing."""
        return self.names[-1][0] if self.names else ""

    @property
    def again(self) -> bool:
        """Whether it was entered from the backward pass: gradient checkpointing runs it again."""
        return bool(self.names) and self.names[-1][1]


def watch(model: nn.Module, running: RunningModules) -> list[Any]:
    """Put hooks on every module of a model, so that `running` knows where it is.

    Returns
    -------
    list
        Handles with a ``remove`` method.
    """
    handles: list[Any] = []
    for name, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(_enter(plain_name(name), running)))
        handles.append(module.register_forward_hook(_leave(running), always_call=True))
    return handles


def plain_name(name: str) -> str:
    """Leave out of a module's name what ``torch.compile`` and checkpoint wrappers add to it."""
    added = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
    return ".".join(part for part in name.split(".") if part not in added)


def _enter(name: str, running: RunningModules) -> Callable[..., None]:
    def hook(*_: Any) -> None:
        running.names.append((name, in_backward()))

    return hook


def _leave(running: RunningModules) -> Callable[..., None]:
    def hook(*_: Any) -> None:
        if running.names:
            running.names.pop()

    return hook


def in_backward() -> bool:
    """Whether this thread is inside of a node of the backward pass."""
    return torch._C._current_autograd_node() is not None
