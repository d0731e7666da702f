"""Make every record of a config that its folder does not have yet."""

from __future__ import annotations

from collections.abc import Callable

from accelsim.config import RunConfig
from accelsim.errors import InputError, NothingCouldRunError
from accelsim.results import Record, RunFolder, Status, record_key
from accelsim.runner.bench import Bench
from accelsim.runner.cases import list_cases

Progress = Callable[[int, int, Record], None]


def run(config: RunConfig, folder: RunFolder, progress: Progress) -> list[Record]:
    """Make every record of a config that the folder does not have yet.

    Parameters
    ----------
    config : RunConfig
        What to run.
    folder : RunFolder
        Where each record is written as soon as it is known.
    progress : callable
        Called with the number of records done, their total, and the newest.

    Returns
    -------
    list of Record
        All records of the folder.

    Raises
    ------
    DataError
        If an operand of a bundle holds NaN or infinity; nothing has run then.
    InputError
        If a resumed run's operands are not those that its records were made from.
    NothingCouldRunError
        If every backend is unavailable; their records are written all the same.
    """
    gemms = config.gemms()
    hashes = {gemm.id: gemm.check_finite() for gemm in gemms}
    _check_same_operands(folder, hashes)
    cases = list_cases(config, gemms)
    done = folder.done_keys()
    bench = Bench(config)
    for number, case in enumerate(cases, start=1):
        if record_key(case.fields) in done:
            continue
        record = bench.record(case)
        record = record.model_copy(update={"operands_sha256": hashes[case.gemm.id]})
        folder.append(record)
        progress(number, len(cases), record)
    records = list(folder.records)
    if records and all(record.status is Status.UNAVAILABLE for record in records):
        reasons = dict.fromkeys(f"{record.backend}: {record.reason}" for record in records)
        raise NothingCouldRunError("no backend can run here: " + "; ".join(reasons))
    return records


def _check_same_operands(folder: RunFolder, hashes: dict[str, str]) -> None:
    for record in folder.records:
        name = f"{record.workload}/{record.gemm}"
        now = hashes.get(name, record.operands_sha256)
        if record.operands_sha256 not in (None, now):
            raise InputError(
                f"{folder.path}: the operands of {name} have changed since its records were "
                "made: --resume would mix two experiments; choose another output, or --overwrite"
            )
