"""Timers for CPU and CUDA: repeats of one function, or the stages of each repeat of a pipeline.

CPU times are read from `time.perf_counter_ns`. CUDA times are read from events on the current
stream, so they cover the device's work and the gaps in which it waits for the host.
All times are in milliseconds.
"""

from __future__ import annotations

import gc
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

import numpy as np

if TYPE_CHECKING:
    import torch

TOTAL = "total"


class TimeSummary(TypedDict):
    """Repeated times as a record keeps them: the median and quartiles in ms, and how many."""

    median: float
    p25: float
    p75: float
    repeats: int


@dataclass(frozen=True)
class Samples:
    """The times of all repeats of one thing.

    Parameters
    ----------
    milliseconds : tuple of float
        One finite time per repeat, in ms, in the order in which they were measured.

    Raises
    ------
    ValueError
        If there is no time, or one is negative or not finite.
    """

    milliseconds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.milliseconds:
            raise ValueError("no times: at least one repeat is needed")
        if not all(math.isfinite(value) and value >= 0 for value in self.milliseconds):
            raise ValueError(f"times must be finite and not negative: {self.milliseconds}")

    def summary(self) -> TimeSummary:
        """Return the median and the quartiles in ms (linear interpolation) and the repeats."""
        p25, median, p75 = np.percentile(self.milliseconds, (25, 50, 75)).tolist()
        return {"median": median, "p25": p25, "p75": p75, "repeats": len(self.milliseconds)}


class _Clock(Protocol):
    """Marks moments; the times between marks may be read once the device has reached them."""

    def mark(self) -> Any: ...

    def wait(self) -> None: ...

    def milliseconds(self, start: Any, end: Any) -> float: ...


class _CpuClock:
    def mark(self) -> int:
        return time.perf_counter_ns()

    def wait(self) -> None:
        pass

    def milliseconds(self, start: int, end: int) -> float:
        return (end - start) / 1e6


class _CudaClock:
    def __init__(self, device: torch.device) -> None:
        import torch

        self._cuda: Any = torch.cuda
        self._raw_stream: Any = torch._C._cuda_getCurrentRawStream
        self._device = device
        self._streams: dict[tuple[int, int], torch.cuda.Stream] = {}

    def mark(self) -> torch.cuda.Event:
        event: torch.cuda.Event = self._cuda.Event(enable_timing=True)
        # Asking for the stream itself takes longer than to record the event.
        index = self._device.index
        index = self._cuda.current_device() if index is None else index
        key = index, self._raw_stream(index)
        if key not in self._streams:
            self._streams[key] = self._cuda.current_stream(self._device)
        event.record(self._streams[key])
        return event

    def wait(self) -> None:
        self._cuda.synchronize(self._device)

    def milliseconds(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return float(start.elapsed_time(end))


def _device_type(device: str | torch.device) -> str:
    kind = str(device).partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"cannot time on device {device}: only cpu and cuda have a timer")
    return kind


def _clock(device: str | torch.device) -> _Clock:
    if _device_type(device) == "cpu":
        return _CpuClock()
    import torch

    return _CudaClock(torch.device(device))


def clock_source(device: str | torch.device) -> str:
    """Return which clock times work on `device`.

    Parameters
    ----------
    device : str or torch.device
        ``"cpu"`` or a CUDA device.

    Raises
    ------
    ValueError
        If there is no timer for this kind of device.
    """
    if _device_type(device) == "cuda":
        return "CUDA events on the current stream"
    clock = time.get_clock_info("perf_counter")
    return f"time.perf_counter: {clock.implementation}, resolution {clock.resolution:g} s"


def measure(
    function: Callable[[], object],
    repeats: int,
    warmup: int,
    device: str | torch.device = "cpu",
    before: Callable[[], object] | None = None,
) -> Samples:
    """Time `repeats` calls of `function`, after `warmup` calls that are not timed.

    On CUDA the calls are queued one after another and the host waits once, at the end, so that the
    cost of launching is hidden if the device is slower than the host.

    Parameters
    ----------
    function : callable
        What to time; it is called without arguments.
    repeats : int
        Number of timed calls, at least 1.
    warmup : int
        Number of calls before them, at least 0.
    device : str or torch.device
        Where the work is done.
    before : callable, optional
        Called before every timed call, outside its time, such as to empty the caches.

    Raises
    ------
    ValueError
        If `repeats` or `warmup` is too small, or the device has no timer.
    """
    return measure_in_turns({"": function}, repeats, warmup, device, before)[""]


def measure_in_turns(
    functions: Mapping[str, Callable[[], object]],
    repeats: int,
    warmup: int,
    device: str | torch.device = "cpu",
    before: Callable[[], object] | None = None,
) -> dict[str, Samples]:
    """Time several functions in turn, so that all of them see the same clocks and the same load.

    Each repeat calls every function once, each time beginning with another one.

    Parameters
    ----------
    functions : mapping
        Name to what is timed.
    repeats, warmup, device, before
        As for `measure`; `before` is called before every timed call.

    Returns
    -------
    dict
        Name to the times of its calls.

    Raises
    ------
    ValueError
        If `repeats` or `warmup` is too small, or the device has no timer.

    Examples
    --------
    >>> times = measure_in_turns({"sum": lambda: sum(range(99)), "pass": lambda: None}, 3, 1)
    >>> [len(samples.milliseconds) for samples in times.values()]
    [3, 3]
    """
    if repeats < 1 or warmup < 0:
        raise ValueError(f"cannot time {repeats} repeats after {warmup} warm-up calls")
    clock = _clock(device)
    for _ in range(warmup):
        for function in functions.values():
            function()
    clock.wait()
    marks: dict[str, list[tuple[Any, Any]]] = {name: [] for name in functions}
    names = list(functions)
    for number in range(repeats):
        turn = number % max(1, len(names))
        for name in names[turn:] + names[:turn]:
            if before is not None:
                before()
            start = clock.mark()
            functions[name]()
            marks[name].append((start, clock.mark()))
    clock.wait()
    return {
        name: Samples(tuple(clock.milliseconds(start, end) for start, end in pairs))
        for name, pairs in marks.items()
    }


class Untimed:
    """A timer that times nothing."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()


class StageTimer:
    """Time the stages of a pipeline, one repeat after another.

    A stage may be entered several times in a repeat: its times add up. The total of a repeat is the
    sum of its counted stages, without the time between stages. A repeat that raises is discarded.
    As in `timeit`, Python collects no garbage during a repeat.

    Parameters
    ----------
    device : str or torch.device
        Where the work is done.
    warmup : int
        How many of the first repeats to forget.

    Examples
    --------
    >>> timer = StageTimer("cpu", warmup=1)
    >>> for _ in range(4):
    ...     with timer.repeat():
    ...         with timer.stage("prepare", counted=False):
    ...             numbers = list(range(1000))
    ...         with timer.stage("gemm"):
    ...             total = sum(numbers)
    >>> sorted(timer.summary())
    ['gemm', 'prepare', 'total']
    >>> timer.summary()["gemm"]["repeats"]
    3
    """

    def __init__(self, device: str | torch.device = "cpu", warmup: int = 0) -> None:
        self._clock = _clock(device)
        self._warmup = warmup
        self._marks: list[tuple[str, bool, Any, Any]] | None = None
        self._times: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def repeat(self, before: Callable[[], object] | None = None) -> Iterator[None]:
        """Enclose one repeat; its times are read when it ends, once the device is done.

        Parameters
        ----------
        before : callable, optional
            Called first, on an idle device and outside of the times. What it queues on a GPU is
            not waited for, so that it may give the host a head start.
        """
        if self._marks is not None:
            raise RuntimeError("a repeat is already being timed")
        self._marks = []
        collects = gc.isenabled()
        gc.disable()
        try:
            self._clock.wait()
            if before is not None:
                before()
            yield
            self._clock.wait()
            self._collect(self._marks)
        finally:
            self._marks = None
            if collects:
                gc.enable()

    @contextmanager
    def stage(self, name: str, counted: bool = True) -> Iterator[None]:
        """Enclose a stage of the repeat.

        Parameters
        ----------
        name : str
            The stage; ``"total"`` is taken.
        counted : bool
            Whether this time is part of the total, which work done ahead of time is not.

        Raises
        ------
        RuntimeError
            Outside `repeat`.
        """
        if self._marks is None:
            raise RuntimeError("a stage is timed inside `with timer.repeat():`")
        if name == TOTAL:
            raise ValueError("'total' is the sum of the stages and cannot be one")
        start = self._clock.mark()
        try:
            yield
        except Exception as error:
            error.add_note(f"in stage {name!r}")
            raise
        self._marks.append((name, counted, start, self._clock.mark()))

    def add(self, times: Mapping[str, float]) -> None:
        """Take the times of a repeat, stages and total, that were measured elsewhere, in ms."""
        if self._warmup > 0:
            self._warmup -= 1
            return
        for name, elapsed in times.items():
            self._times[name].append(elapsed)

    def _collect(self, marks: list[tuple[str, bool, Any, Any]]) -> None:
        times: dict[str, float] = defaultdict(float)
        total = 0.0
        for name, counted, start, end in marks:
            elapsed = self._clock.milliseconds(start, end)
            times[name] += elapsed
            total += elapsed * counted
        self.add({**times, TOTAL: total})

    @property
    def samples(self) -> Mapping[str, Samples]:
        """All times of each stage and of the total, in ms, one per repeat that had the stage."""
        return {name: Samples(tuple(times)) for name, times in self._times.items()}

    def summary(self) -> dict[str, TimeSummary]:
        """Return what a record's ``time_ms`` holds: a summary of each stage and of the total."""
        return {name: samples.summary() for name, samples in self.samples.items()}
