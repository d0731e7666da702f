"""The task of a Dask worker: make one record, and report whether the worker was otherwise idle."""

from __future__ import annotations

import threading
from typing import Any

from accelsim.measure.machine import environment
from accelsim.records import Record
from accelsim.runner.makers.job import Job, Loaded


class _Process:
    """The state of this worker process: what is loaded, and how many records are in progress."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[Job, Loaded] = {}
        self._one_at_a_time = threading.Lock()
        self.active = 0
        self._crowded = False

    def load(self, job: Job) -> Loaded:
        """Load a job, unless it is the last one."""
        with self._lock:
            if job not in self._loaded:
                self._loaded.clear()
                self._loaded[job] = Loaded(job)
            return self._loaded[job]

    def record(self, job: Job, number: int) -> tuple[Record, bool]:
        """Make a record, and say whether this process made another at the same time."""
        with self._lock:
            self.active += 1
            self._crowded = self._crowded or self.active > 1
        try:
            loaded = self.load(job)
            with self._one_at_a_time:
                record = loaded.bench.record(loaded.cases[number])
        finally:
            with self._lock:
                crowded = self._crowded
                self.active -= 1
                self._crowded = self._crowded and self.active > 0
        return record, crowded


process = _Process()


def devices(job: Job) -> list[str | None]:
    """Return for each backend of the config the device that it runs on here, None if it cannot."""
    loaded = process.load(job)
    found = [loaded.bench.availability(choice) for choice in loaded.choices]
    return [each.device if each.available else None for each in found]


def machine() -> dict[str, Any]:
    """Describe the worker's machine."""
    return environment()


def make_record(job: Job, number: int, neighbours: int) -> dict[str, Any]:
    """Make the record of a case.

    Parameters
    ----------
    job : Job
        The config.
    number : int
        Which of its cases.
    neighbours : int
        Other workers on this host.

    Returns
    -------
    dict
        The record; without times if this process made another at the same time.
    """
    record, crowded = process.record(job, number)
    return _noted(record, neighbours, crowded).to_dict()


def _noted(record: Record, neighbours: int, crowded: bool) -> Record:
    if crowded:
        return record.without_times()
    if record.timing is None:
        return record
    timing = record.timing.model_copy(update={"neighbours": neighbours})
    return record.model_copy(update={"timing": timing})
