"""The module that is running, by hooks on the modules of a model."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
import torch.utils.checkpoint
from torch import nn

from accelsim.errors import InputError


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


def watch(
    model: nn.Module, running: RunningModules, entered: Callable[[nn.Module], None]
) -> list[Any]:
    """Put hooks on every module of a model, so that `running` knows where it is.

    Parameters
    ----------
    model : nn.Module
        The model.
    running : RunningModules
        What is told.
    entered : callable
        Called with each module that begins to run.

    Returns
    -------
    list
        Handles with a ``remove`` method.

    Raises
    ------
    InputError
        If a module is compiled by TorchScript, which takes no hooks.
    """
    handles: list[Any] = []
    modules = list(model.named_modules())
    for name, module in modules:
        if isinstance(module, torch.jit.ScriptModule):
            raise InputError(
                f"module {name or type(module).__name__!r} is compiled by TorchScript, which hides "
                f"where its GEMMs are; expected the nn.Module that it was made of"
            )
    for name, module in modules:
        enter = _enter(plain_name(name), running, entered)
        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(_leave(running), always_call=True))
    return handles


def plain_name(name: str) -> str:
    """Leave out of a module's name what ``torch.compile`` and checkpoint wrappers add to it."""
    added = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
    return ".".join(part for part in name.split(".") if part not in added)


def _enter(
    name: str, running: RunningModules, entered: Callable[[nn.Module], None]
) -> Callable[..., None]:
    def hook(module: nn.Module, _: Any) -> None:
        running.names.append((name, in_backward()))
        entered(module)

    return hook


def _leave(running: RunningModules) -> Callable[..., None]:
    def hook(*_: Any) -> None:
        if running.names:
            running.names.pop()

    return hook


def in_backward() -> bool:
    """Whether this thread is inside of a node of the backward pass."""
    return torch._C._current_autograd_node() is not None


def checkpointing() -> bool:
    """Whether gradient checkpointing runs something again in this thread's backward pass.

    Of the Python functions that are running, one of checkpointing is found before the one that
    began the backward pass.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == torch.utils.checkpoint.__file__:
            return True
        if frame.f_code is torch.autograd.graph._engine_run_backward.__code__:
            return False
        frame = frame.f_back
    return False
