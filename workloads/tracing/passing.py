"""Operators without GEMMs run without a call of Python where nothing would be recorded of them.

A dispatch mode costs every operator as much host time as the operator itself. A library, compiled
at first use (``accelsim/kernels/csrc/passing.cpp``), stands before it and lets operators pass that
hold no GEMM, write to nothing, and whose results descend from weights or probabilities in no way.
What it lets pass and what comes to the mode is the same to every product.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import warnings
from contextlib import ExitStack
from typing import Any

from torch import nn

from accelsim.kernels import cpp
from accelsim.kernels.nvcc import BuildError
from workloads.tracing.facts import Facts

SOURCE = "passing.cpp"

VIEW, GATHERS = 1, 2
"""Facts of an operator, as the library knows them."""

_NUMBERS = itertools.count()

_TOLD: dict[int, Any] = {}
"""Operators that the library was told of, by their identity."""


class Passing:
    """What lets operators of one tracer pass.

    Parameters
    ----------
    library : ctypes.PyDLL
        The compiled library.
    """

    def __init__(self, library: ctypes.PyDLL) -> None:
        self._library = library
        self._number = ctypes.c_int64(next(_NUMBERS))
        library.accelsim_passing_open(self._number)

    def close(self) -> None:
        """Let nothing pass any more."""
        self._library.accelsim_passing_close(self._number)

    def mark(self, storage: int, origin: int) -> None:
        """Record what a storage descends from, in bits of `Origin.bits`; 0 for nothing."""
        self._library.accelsim_passing_mark(
            self._number, ctypes.c_void_p(storage), ctypes.c_int64(origin)
        )

    def tell(self, facts: Facts) -> None:
        """Let an operator pass from now on, if it is one that may."""
        func = facts.operator
        if id(func) in _TOLD:
            return
        _TOLD[id(func)] = func
        if not facts.may_pass:
            return
        schema = func._schema
        bits = VIEW * facts.is_view | GATHERS * facts.gathers
        self._library.accelsim_passing_operator(
            schema.name.encode(), schema.overload_name.encode(), ctypes.c_int64(bits)
        )

    def enter(self, stack: ExitStack, mode: Any, nodes: Any) -> None:
        """Have the current thread's operators pass `mode` until `stack` ends.

        Parameters
        ----------
        stack : ExitStack
            What ends it.
        mode : TorchDispatchMode
            The mode that sees all others.
        nodes : ctypes.Array
            First and last autograd node of the operator before, of this tracer and thread.
        """
        self._library.accelsim_passing_enter(
            self._number, ctypes.c_void_p(id(mode)), ctypes.byref(nodes)
        )
        stack.callback(self._library.accelsim_passing_leave)


def passing_for(model: nn.Module) -> Passing | None:
    """Return what lets operators pass while a model runs, if the library is there.

    It is compiled where the device waits for operators to be seen: for a model on a GPU.
    """
    compiles = any(x.is_cuda for x in model.parameters())
    library = _library(compiles)
    return None if library is None else Passing(library)


@functools.cache
def _library(compiles: bool) -> ctypes.PyDLL | None:
    """Return the library that is kept, or compiled now; None where there is none."""
    try:
        if not compiles and not cpp.path_of(SOURCE).exists():
            return None
        return cpp.load(cpp.build(SOURCE))
    except (BuildError, OSError) as error:
        if compiles:
            warnings.warn(f"every operator of a model takes more host time: {error}", stacklevel=2)
        return None
