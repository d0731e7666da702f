"""What a Dask worker does: make one record, and say whether it did nothing else meanwhile."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from accelsim.errors import InputError
from accelsim.measure.machine import environment
from accelsim.records import Record
from accelsim.runner.bench import Bench
from accelsim.runner.cases import Case, list_cases


@dataclass(frozen=True)
class Job:
    """What every worker loads again.

    Parameters
    ----------
    path : str
        The config file, which all machines see under the same path.
    overrides, backends : tuple of str
        What `accelsim.config.load_config` takes.
    config_hash : str
        What the config must be.
    """

    path: str
    overrides: tuple[str, ...]
    backends: tuple[str, ...]
    config_hash: str


class _Loaded:
    """A job on this worker: its cases, and the bench that keeps the last operands."""

    def __init__(self, job: Job) -> None:
        from accelsim.config import load_config

        config = load_config(job.path, job.overrides, job.backends)
        if config.config_hash != job.config_hash:
            raise InputError(f"{job.path} is another config on a worker than where the run started")
        self.choices = config.backends
        self.cases: list[Case] = list_cases(config, config.gemms())
        self.bench = Bench(config)
        self.lock = threading.Lock()


_lock = threading.Lock()
_loaded: dict[Job, _Loaded] = {}
_active = 0
_crowded = False


def devices(job: Job) -> list[str | None]:
    """Return for each backend of the config the device that it runs on here, None if it cannot."""
    found = [_load(job).bench.availability(choice) for choice in _load(job).choices]
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
    global _active, _crowded
    with _lock:
        _active += 1
        _crowded = _crowded or _active > 1
    try:
        loaded = _load(job)
        with loaded.lock:
            record = loaded.bench.record(loaded.cases[number])
    finally:
        with _lock:
            crowded = _crowded
            _active -= 1
            _crowded = _crowded and _active > 0
    return _noted(record, neighbours, crowded).to_dict()


def _load(job: Job) -> _Loaded:
    with _lock:
        if job not in _loaded:
            _loaded.clear()
            _loaded[job] = _Loaded(job)
        return _loaded[job]


def _noted(record: Record, neighbours: int, crowded: bool) -> Record:
    if crowded:
        return record.without_times()
    if record.timing is None:
        return record
    timing = record.timing.model_copy(update={"neighbours": neighbours})
    return record.model_copy(update={"timing": timing})
