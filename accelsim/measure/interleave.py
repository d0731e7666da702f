"""Time several things on a GPU in turn, so that all of them see the same clocks and temperature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from accelsim.measure.timing import Samples

FLUSH_BYTES = 128 << 20
"""More than the L2 cache holds."""


def interleaved(
    functions: dict[str, Callable[[], Any]], repeats: int, warmup: int, device: torch.device
) -> dict[str, Samples]:
    """Time functions in turn, so that all see the same clocks and temperature.

    Each repeat runs all of them in a rotated order. The L2 cache is overwritten before each one.

    Parameters
    ----------
    functions : dict
        Name to a function that queues work on the current stream.
    repeats, warmup : int
        Timed and untimed repeats.
    device : torch.device
        A CUDA device.

    Returns
    -------
    dict
        Name to its times in ms, from CUDA events.
    """
    event: Any = torch.cuda.Event
    scratch = torch.empty(FLUSH_BYTES, dtype=torch.int8, device=device)
    names = list(functions)
    marks: dict[str, list[tuple[Any, Any]]] = {name: [] for name in names}
    for number in range(warmup + repeats):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            scratch.zero_()
            start, end = (event(enable_timing=True) for _ in range(2))
            start.record()
            functions[name]()
            end.record()
            if number >= warmup:
                marks[name].append((start, end))
    torch.cuda.synchronize(device)
    return {
        name: Samples(tuple(start.elapsed_time(end) for start, end in pairs))
        for name, pairs in marks.items()
    }


def captured(run: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """Return a CUDA graph of what a function queues, which has run before."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph
