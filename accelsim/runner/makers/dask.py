"""Records made by the workers of a Dask cluster (extra ``distributed``)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from accelsim.config import RunConfig
from accelsim.errors import AccelsimError, InputError
from accelsim.plugins.extras import how_to_install
from accelsim.records import Record, Status
from accelsim.records.keyed import canonical_json
from accelsim.records.record import Minimised
from accelsim.runner.bench import CaseBench
from accelsim.runner.cases import Case
from accelsim.runner.makers.job import Job
from accelsim.runner.makers.task import devices, machine, make_record

LOCAL = "local"
"""Instead of an address: a cluster on this machine, for the time of the run."""

CONNECT_S = 30
"""Time limit for the scheduler to answer, in seconds."""

WORKER_S = 300
"""Time limit for the first worker to connect, in seconds."""

_HOW = "start workers with: dask worker ADDRESS --nthreads 1 --resources CPU=1"


class Dask:
    """Makes records as tasks of a Dask cluster; see `Maker`.

    Each record is a task that takes one ``CPU`` of a worker's resources, and one ``GPU`` if its
    backend runs on CUDA, so a worker with ``CPU=1`` makes one record at a time. A task whose worker
    is lost is run again on another; after the number of losses that the scheduler allows
    (``distributed.scheduler.allowed-failures``, 3) it becomes an ``error`` record.

    Parameters
    ----------
    scheduler : str
        The address of a Dask scheduler, or ``local``.
    config : RunConfig
        What to run; its file and its bundles have the same path on all machines.

    Raises
    ------
    InputError
        If `distributed` is missing, the scheduler cannot be reached, no worker comes, or none has
        the resources that a record takes.
    """

    is_here = False

    def __init__(self, scheduler: str, config: RunConfig) -> None:
        self._config, self._job = config, Job.of(config)
        with ExitStack() as opened:
            self._client = opened.enter_context(_client(scheduler))
            self._needs = _needs(self._client, self._job, config)
            self._opened = opened.pop_all()

    def facts(self) -> dict[str, Any]:
        """Return the machines of the workers."""
        return {"worker_machines": _machines(self._client)}

    def records(self, cases: Sequence[Case]) -> Iterator[tuple[Case, Record]]:
        """Submit every case, and yield each with its record as it comes."""
        neighbours = _largest_crowd(self._client) - 1
        futures = {
            self._client.submit(
                make_record, self._job, case.number, neighbours,
                resources=self._needs(case), pure=False,
            ): case
            for case in cases
        }  # fmt: skip
        for future in _dask().as_completed(list(futures)):
            case = futures[future]
            error = future.exception()
            if error is None:
                yield case, Record.model_validate(future.result())
            elif isinstance(error, InputError):
                raise error
            else:
                reason = f"{type(error).__name__}: {error}"
                yield case, Record(**case.fields, status=Status.ERROR, reason=reason)
            future.release()

    def minimise(self, case: Case, entry: tuple[int, ...], folder: Path) -> Minimised | None:
        """Save the smallest GEMM that shows a mismatch, found in this process."""
        return self._bench.minimise(case, entry, folder)

    def peak(self, case: Case) -> float | None:
        """Return None: the workers' machines are not measured."""
        return None

    def close(self) -> None:
        """Release the cluster."""
        self._opened.close()

    @cached_property
    def _bench(self) -> CaseBench:
        return CaseBench(self._config)


def _needs(client: Any, job: Job, config: RunConfig) -> Callable[[Case], dict[str, float]]:
    """Return what says the resources of a case, after asking the workers what they can run."""
    answers = _ask(client, devices, job)
    found = {
        choice.key: next((d[place] for d in answers.values() if d[place]), None)
        for place, choice in enumerate(config.backends)
    }
    offered: Counter[str] = Counter()
    for worker in client.scheduler_info(n_workers=-1)["workers"].values():
        offered |= Counter(worker["resources"])

    def needs(case: Case) -> dict[str, float]:
        on_gpu = (found[case.choice.key] or "cpu").startswith("cuda")
        return {"CPU": 1, "GPU": 1} if on_gpu else {"CPU": 1}

    if not offered["CPU"]:
        raise InputError(f"no worker offers CPU=1: {_HOW}")
    if any((device or "").startswith("cuda") for device in found.values()) and not offered["GPU"]:
        raise InputError(f"no worker with CUDA offers GPU=1: {_HOW},GPU=1")
    return needs


def _ask(client: Any, question: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """Call a function on every worker and return the answers by the workers' addresses."""
    try:
        answers: dict[str, Any] = client.run(question, *arguments)
    except OSError as error:  # distributed's CommClosedError is one
        message = f"a worker was lost before the first record: {error}; continue with --resume"
        raise AccelsimError(message) from error
    return answers


def _largest_crowd(client: Any) -> int:
    """Return how many workers share a host, where most do."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return max(Counter(urlsplit(address).hostname for address in workers).values())


def _machines(client: Any) -> list[dict[str, Any]]:
    """Return the different machines among the workers."""
    different = {canonical_json(found): found for found in _ask(client, machine).values()}
    return list(different.values())


def _dask() -> Any:
    """Import Dask's ``distributed``, of which only some is typed."""
    return import_module("distributed")


@contextmanager
def _client(scheduler: str) -> Iterator[Any]:
    """Connect to a scheduler that has a worker, or start a local one."""
    if find_spec("distributed") is None:
        raise InputError(f"--scheduler needs distributed: {how_to_install('distributed')}")
    dask = _dask()
    if scheduler == LOCAL:
        with (
            dask.LocalCluster(
                n_workers=len(os.sched_getaffinity(0)), threads_per_worker=1,
                resources={"CPU": 1}, dashboard_address=None,
            ) as cluster,
            dask.Client(cluster) as client,
        ):  # fmt: skip
            yield client
        return
    try:
        client = dask.Client(scheduler, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot reach the scheduler {scheduler}: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_S)
        except TimeoutError:
            message = f"the scheduler {scheduler} has had no worker for {WORKER_S} s: {_HOW}"
            raise InputError(message) from None
        yield client
