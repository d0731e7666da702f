"""A run on a GPU captured as CUDA graphs: one for its time, one for its stages."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import torch

from accelsim.measure.timing import TOTAL, Untimed
from accelsim.types import Timer

T = TypeVar("T")


class GraphStages:
    """Marks the stages of what is captured; their times can be read after every replay."""

    def __init__(self) -> None:
        self._marks: list[tuple[str, Any, Any]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Enclose a stage; one that is entered several times adds up."""
        start = _mark()
        yield
        self._marks.append((name, start, _mark()))

    def milliseconds(self) -> dict[str, float]:
        """Return the time of each stage in the last replay, which must have ended."""
        times: dict[str, float] = defaultdict(float)
        for name, start, end in self._marks:
            times[name] += start.elapsed_time(end)
        return dict(times)


class GraphedRun(Generic[T]):
    """A run that is captured once and replayed with new values in the same memory.

    Parameters
    ----------
    run : callable
        Takes a timer and queues work on the current stream without waiting for it.
    device : torch.device
        A CUDA device.

    Attributes
    ----------
    result : Any
        What the captured run returned: every `replay` writes to it.
    """

    result: T

    def __init__(self, run: Callable[[Timer], T], device: torch.device) -> None:
        self._device = device
        stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            run(Untimed())
        torch.cuda.current_stream(device).wait_stream(stream)
        self._graph, self.result = _captured(lambda: run(Untimed()))
        self._stages = GraphStages()
        self._staged, _ = _captured(lambda: run(self._stages))

    def replay(self) -> T:
        """Queue the run once more; return its result."""
        self._graph.replay()
        return self.result

    def times(self, before: Callable[[], object] | None = None) -> dict[str, float]:
        """Run twice, wait, and return the times in ms: of the whole, and of its stages.

        The stages are marked in a graph of their own, so that marks do not lengthen the whole;
        its result goes elsewhere.

        Parameters
        ----------
        before : callable, optional
            Queues what comes before each of the two runs, outside their times.
        """
        if before is not None:
            before()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        start.record()
        self._graph.replay()
        end.record()
        if before is not None:
            before()
        self._staged.replay()
        torch.cuda.synchronize(self._device)
        return {**self._stages.milliseconds(), TOTAL: float(start.elapsed_time(end))}


def _captured(run: Callable[[], T]) -> tuple[torch.cuda.CUDAGraph, T]:
    gc.collect()  # in the middle of it, a graph that is destroyed would end the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()
    return graph, result


def _mark() -> Any:
    kind: Any = torch.cuda.Event
    event = kind(enable_timing=True, external=True)
    event.record()
    return event
