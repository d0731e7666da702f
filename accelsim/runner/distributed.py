"""A run whose records are tasks of a Dask cluster (extra ``accelsim[distributed]``)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from accelsim.config import RunConfig
from accelsim.errors import AccelsimError, InputError
from accelsim.records import Record, RecordKey, RunFolder, Status, record_key
from accelsim.runner.bench import Bench
from accelsim.runner.cases import Case, list_cases
from accelsim.runner.interrupts import Interrupts
from accelsim.runner.loop import (
    Progress,
    check_same_operands,
    finished,
    interrupted,
    operand_hashes,
    with_minimised,
)
from accelsim.runner.task import Job, devices, machine, make_record

LOCAL = "local"
"""Instead of an address: a cluster on this machine, for the time of the run."""

CONNECT_S = 30
"""How long the scheduler may take to answer."""

WORKER_S = 300
"""How long the first worker may take to come."""

_HOW = "start workers with: dask worker ADDRESS --nthreads 1 --resources CPU=1"


def run_distributed(
    config: RunConfig,
    folder: RunFolder[Record],
    progress: Progress,
    scheduler: str,
    hashes: Mapping[str, str] | None = None,
) -> list[Record]:
    """Make every record that the folder does not have yet on the workers of a Dask cluster.

    Each record is a task that takes one ``CPU`` of a worker's resources, and one ``GPU`` if its
    backend runs on CUDA, so a worker with ``CPU=1`` makes one record at a time. A task whose worker
    is lost is run again on another; after the number of losses that the scheduler allows
    (``distributed.scheduler.allowed-failures``, 3) it becomes an ``error`` record.

    Parameters
    ----------
    config : RunConfig
        What to run; its file and its bundles have the same path on all machines.
    folder : RunFolder
        Where each record is written as soon as it comes.
    progress : callable
        Called with the number of records done, their total, and the newest.
    scheduler : str
        The address of a Dask scheduler, or ``local``.
    hashes : mapping, optional
        What `accelsim.runner.operand_hashes` returned, if it was called already.

    Returns
    -------
    list of Record
        All records of the folder, in the order of the config.

    Raises
    ------
    InputError
        If `distributed` is missing, the scheduler cannot be reached, no worker comes, or none has
        the resources that a record takes.
    DataError, InterruptedRunError, NothingCouldRunError
        As `accelsim.runner.run`.
    """
    hashes = hashes or operand_hashes(config)
    check_same_operands(folder, hashes)
    cases = list_cases(config, config.gemms())
    path = str(config.path.absolute())
    job = Job(path, config.overrides, config.backend_names, config.config_hash)
    with _client(scheduler) as client, Interrupts() as interrupts:
        needs = _needs(client, job, config)
        folder.note(worker_machines=_machines(client))
        bench = Bench(config)
        for case, record in _results(client, job, cases, needs, folder.done_keys()):
            record = record.model_copy(update={"operands_sha256": hashes[case.gemm.id]})
            record = with_minimised(record, case, bench, folder)
            folder.append(record)
            progress(len(folder), len(cases), record)
            if interrupts.requested and len(folder) < len(cases):
                raise interrupted(folder, len(cases))
    places = {record_key(case.fields): place for place, case in enumerate(cases)}
    return sorted(finished(folder), key=lambda record: places[record_key(record)])


def _results(
    client: Any,
    job: Job,
    cases: Sequence[Case],
    needs: Callable[[Case], dict[str, float]],
    done: frozenset[RecordKey],
) -> Iterator[tuple[Case, Record]]:
    """Submit every case that is not done, and yield each with its record as it comes."""
    crowd = _largest_crowd(client)
    futures = {
        client.submit(make_record, job, number, crowd - 1, resources=needs(case), pure=False): case
        for number, case in enumerate(cases)
        if record_key(case.fields) not in done
    }
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


def _needs(client: Any, job: Job, config: RunConfig) -> Callable[[Case], dict[str, float]]:
    """Return what says the resources of a case, after asking the workers what they can run."""
    answers = _ask(client, devices, job)
    found = {
        repr(choice): next((d[place] for d in answers.values() if d[place]), None)
        for place, choice in enumerate(config.backends)
    }
    offered: Counter[str] = Counter()
    for worker in client.scheduler_info(n_workers=-1)["workers"].values():
        offered |= Counter(worker["resources"])

    def needs(case: Case) -> dict[str, float]:
        on_gpu = (found[repr(case.choice)] or "cpu").startswith("cuda")
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
        message = f"a worker was lost before the first record: {error}; go on with --resume"
        raise AccelsimError(message) from error
    return answers


def _largest_crowd(client: Any) -> int:
    """Return how many workers share a host, where most do."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return max(Counter(urlsplit(address).hostname for address in workers).values())


def _machines(client: Any) -> list[dict[str, Any]]:
    """Return the different machines among the workers."""
    different = {repr(found): found for found in _ask(client, machine).values()}
    return list(different.values())


def _dask() -> Any:
    """Import Dask's ``distributed``, of which only some is typed."""
    return import_module("distributed")


@contextmanager
def _client(scheduler: str) -> Iterator[Any]:
    """Connect to a scheduler that has a worker, or start a local one."""
    if find_spec("distributed") is None:
        raise InputError("--scheduler needs distributed: pip install 'accelsim[distributed]'")
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
