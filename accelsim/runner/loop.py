"""Make every record of a config that its folder does not have yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

import torch

from accelsim.config import RunConfig
from accelsim.errors import DataError, InputError, InterruptedRunError, NothingCouldRunError
from accelsim.measure.roofs import bandwidth_gb_s
from accelsim.records import Record, RecordKey, RunFolder, Status
from accelsim.records.keyed import canonical_json
from accelsim.runner.cases import Case, list_cases
from accelsim.runner.interrupts import Interrupts
from accelsim.runner.makers import Here, Maker
from accelsim.runner.mismatch import is_replay
from accelsim.runner.progress import Progress, Steps
from workloads.sources import open_source

MOST_MINIMISED = 20
"""At most this many inexact records per run are minimised."""


def operand_hashes(config: RunConfig) -> dict[str, str]:
    """Read all operands, see that they are finite, and return their hashes by the GEMM's id.

    Operands of which nothing but a sketch is needed are not drawn, and have no hash.

    Parameters
    ----------
    config : RunConfig
        The config whose operands are read.

    Returns
    -------
    dict[str, str]
        The hash of each GEMM's operands, by its id.

    Raises
    ------
    DataError
        If one holds NaN or infinity; the message has the place in the config, the tensor's name and
        the first index.
    """
    hashes = {}
    for index, source in enumerate(config.workloads):
        for gemm in open_source(source, config.path.parent):
            if config.product == "none" and gemm.sketch is not None:
                continue
            try:
                hashes[gemm.id] = gemm.check_finite()
            except DataError as error:
                raise DataError(config.at_workload(index, str(error))) from None
    return hashes


def run(
    config: RunConfig,
    folder: RunFolder[Record],
    progress: Progress,
    maker: Callable[[RunConfig], Maker] = Here,
    hashes: Mapping[str, str] | None = None,
) -> list[Record]:
    """Make every record of a config that the folder does not have yet.

    Ctrl-C and SIGTERM let the current record be finished.

    Parameters
    ----------
    config : RunConfig
        What to run.
    folder : RunFolder
        Where each record is written as soon as it is known.
    progress : callable
        Called when the run begins and after every record.
    maker : callable
        Opens what makes the records: in this process, in processes of its own
        (``partial(Isolated, limits)``) or on a cluster (``partial(Dask, scheduler)``).
    hashes : mapping, optional
        What `operand_hashes` returned, if it was called already.

    Returns
    -------
    list of Record
        All records of the folder, in the order of the config.

    Raises
    ------
    DataError
        If an operand of a bundle holds NaN or infinity; nothing has run then.
    InputError
        If a resumed run's operands are not those that its records were made from, or the maker
        cannot be opened.
    InterruptedRunError
        After the current record, if a signal asked for it.
    NothingCouldRunError
        If every backend is unavailable; their records are written all the same.
    """
    hashes = hashes or operand_hashes(config)
    check_same_operands(folder, hashes)
    cases = _distinct(list_cases(config, config.gemms()))
    missing = [case for case in cases if case.key not in folder]
    minimised = sum(record.minimised is not None for record in folder)
    with closing(maker(config)) as makes, Interrupts() as interrupts:
        folder.note(**makes.facts())
        steps = Steps(missing, len(cases))
        progress(steps.begin())
        for case, made in makes.records(missing):
            record = made.model_copy(update={"operands_sha256": hashes.get(case.gemm.id)})
            if minimised < MOST_MINIMISED and not is_replay(config):
                record = with_minimised(record, case, makes, folder)
                minimised += record.minimised is not None
            folder.append(record)
            progress(steps.made(case, record))
            if interrupts.requested and len(folder) < len(cases):
                raise interrupted(folder, len(cases))
        if config.timing.roofline and makes.is_here:
            folder.note(roofs=_roofs(cases, folder, makes))
    places = {case.key: case.number for case in cases}
    return sorted(finished(folder), key=lambda record: places[record.key])


def _distinct(cases: Iterable[Case]) -> list[Case]:
    """Leave out what has the key of an earlier case, such as a backend with its default spelled."""
    found: dict[RecordKey, Case] = {}
    for case in cases:
        found.setdefault(case.key, case)
    return list(found.values())


def _roofs(cases: Sequence[Case], folder: RunFolder[Record], maker: Maker) -> dict[str, Any]:
    """Measure what bounds the backends that gave a right result, and their devices."""
    right = {record.key: record for record in folder if record.exact}
    compute: dict[str, dict[str, Any]] = {}
    for case in cases:
        fields = case.fields
        key = canonical_json([fields["backend"], fields["backend_options"]])
        record = right.get(case.key)
        if record is not None and key not in compute:
            names = ("backend", "backend_options", "bits")
            compute[key] = {
                **{name: fields[name] for name in names},
                "device": record.device,
                "tops": maker.peak(case),
            }
    devices = dict.fromkeys(str(roof["device"]) for roof in compute.values())
    return {
        "compute": list(compute.values()),
        "bandwidth_gb_s": {name: bandwidth_gb_s(torch.device(name)) for name in devices},
    }


def with_minimised(record: Record, case: Case, maker: Maker, folder: RunFolder[Record]) -> Record:
    """Add the smallest GEMM that shows the mismatch of a record, if it has one."""
    if record.status is not Status.INEXACT or not record.first_mismatch:
        return record
    folder.begin()  # the smallest GEMM goes to the folder before the record does
    try:
        found = maker.minimise(case, tuple(record.first_mismatch.index), folder.path)
    except Exception as error:  # the record counts for more
        return record.model_copy(update={"reason": f"{record.reason}; not minimised: {error}"})
    if found is None:
        return record.model_copy(
            update={"reason": f"{record.reason}; the mismatch did not show again on its own"}
        )
    return record.model_copy(update={"minimised": found})


def interrupted(folder: RunFolder[Record], total: int) -> InterruptedRunError:
    """Return the error that ends an interrupted run."""
    if not folder.begun:
        return InterruptedRunError(f"interrupted: the earlier run in {folder.path} stays")
    done = len(folder)
    return InterruptedRunError(
        f"interrupted: {done} of {total} records are in {folder.path}; continue with --resume"
    )


def finished(folder: RunFolder[Record]) -> list[Record]:
    """Return the records of a run, if anything could run."""
    records = list(folder.records)
    if records and not any(record.available for record in records):
        reasons = dict.fromkeys(f"{record.backend}: {record.reason}" for record in records)
        kept = "" if folder.begun else f"; the earlier run in {folder.path} stays"
        raise NothingCouldRunError("no backend can run here: " + "; ".join(reasons) + kept)
    return records


def check_same_operands(folder: RunFolder[Record], hashes: Mapping[str, str]) -> None:
    """Refuse to continue a run whose records were made from other operands."""
    for record in folder:
        name = f"{record.workload}/{record.gemm}"
        now = hashes.get(name, record.operands_sha256)
        if record.operands_sha256 not in (None, now):
            raise InputError(
                f"{folder.path}: the operands of {name} have changed since its records were "
                "made: --resume would mix two experiments; choose another output, or --overwrite"
            )
