"""The module that is running, by hooks on the modules of a model."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

import torch
import torch.utils.checkpoint
from torch import nn

from accelsim.errors import InputError
from workloads.tracing.steps import LINEAR


class Entry(NamedTuple):
    """One module that is running.

    Parameters
    ----------
    name : str
        As ``named_modules`` calls it.
    again : bool
        Whether it was entered from the backward pass: gradient checkpointing runs it again.
    linear : bool
        Whether it is a linear layer, whose input is never a weight, wherever it comes from.
    undo : callable
        Called when the module is left.
    """

    name: str
    again: bool
    linear: bool
    undo: Callable[[], None]


_sequence_number = torch._C._autograd._get_sequence_nr

_LEVELS = 8
"""The largest depth of nested transforms of `torch.func`."""


class RunningModules(threading.local):
    """The modules that are running in this thread, outermost first.

    Attributes
    ----------
    seen : int
        How many operators with GEMMs were seen in this thread.
    ends : ctypes.Array
        The first and the last of `nodes`; operators that pass unseen write to it as well.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.seen = 0
        self._began: int | None = None
        self.ends = (ctypes.c_int64 * 2)(0, -1)

    def operator(self) -> None:
        """Note that an operator is about to run, whose autograd nodes were made just before."""
        newest = _sequence_number() - 1
        first, last = self.ends
        if first > last:
            self.ends[:] = [newest, newest]
        elif newest != last:
            self.ends[:] = [min(max(last + 1, newest - _LEVELS), newest), newest]

    def begin(self) -> None:
        """Note that the context begins in this thread."""
        self._began = _sequence_number() - 1

    @property
    def without_nodes(self) -> bool:
        """Whether this thread has made no autograd node since it began the context."""
        return self.ends[1] == self._began

    @property
    def nodes(self) -> range:
        """The sequence numbers of the autograd nodes of the operator that is running.

        One, or one for each level of `torch.func`'s transforms.
        """
        first, last = self.ends
        return range(first, last + 1)

    @property
    def inside(self) -> bool:
        """Whether any module is running."""
        return bool(self.entries)

    @property
    def innermost(self) -> str:
        """The name of the innermost one, or nothing."""
        return self.entries[-1].name if self.entries else ""

    @property
    def again(self) -> bool:
        """Whether it was entered from the backward pass: gradient checkpointing runs it again."""
        return bool(self.entries) and self.entries[-1].again

    @property
    def linear(self) -> bool:
        """Whether the innermost one is a linear layer."""
        return bool(self.entries) and self.entries[-1].linear


def watch(
    model: nn.Module,
    running: RunningModules,
    entering: Callable[[str, nn.Module], Callable[[], None]],
    finished: Callable[[Any], None],
) -> list[Any]:
    """Put hooks on every module of a model, so that `running` knows where it is.

    Parameters
    ----------
    model : nn.Module
        The model.
    running : RunningModules
        What is told.
    entering : callable
        Called with each module that is about to run, and its name; returns what to call when the
        module is left.
    finished : callable
        Called with the result of an outermost module.

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
        enter = _enter(plain_name(name), isinstance(module, LINEAR), running, entering)
        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(_leave(running, finished), always_call=True))
    return handles


def plain_name(name: str) -> str:
    """Leave out of a module's name what ``torch.compile`` and checkpoint wrappers add to it."""
    added = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")
    return ".".join(part for part in name.split(".") if part not in added)


def _enter(
    name: str,
    linear: bool,
    running: RunningModules,
    entering: Callable[[str, nn.Module], Callable[[], None]],
) -> Callable[..., None]:
    def hook(module: nn.Module, _: Any) -> None:
        undo = entering(name, module)
        running.entries.append(Entry(name, in_backward(), linear, undo))

    return hook


def _leave(running: RunningModules, finished: Callable[[Any], None]) -> Callable[..., None]:
    def hook(_module: nn.Module, _args: Any, result: Any = None) -> None:
        entries = running.entries
        if entries:
            entries.pop().undo()
            if not entries:
                finished(result)

    return hook


def in_backward() -> bool:
    """Whether this thread is inside of a node of the backward pass."""
    return torch._C._current_autograd_node() is not None


def is_inference() -> bool:
    """Whether nothing that runs now has a gradient, is one, or is run again for one."""
    return not torch.is_grad_enabled() and torch._C._current_autograd_node() is None


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
