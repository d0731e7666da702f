"""Descriptions of what is not ok in a run: failed records, and why others did not run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from accelsim.records import Record, Status
from accelsim.report.settings import Settings
from accelsim.report.summary_rows import Labels

MOST_FAILURES = 50
"""Largest number of failed records that are listed."""


def verdict(records: Sequence[Record], reasons: bool = True) -> str:
    """Return one sentence: how many results are exact, what did not run, and why.

    Parameters
    ----------
    records : sequence of Record
        The records of one run.
    reasons : bool
        Whether reasons are given; otherwise only the number of records that did not run.
    """
    counts = Counter(record.status for record in records)
    ran = sum(number for status, number in counts.items() if status.ran)
    counted = counts[Status.COUNTED]
    parts = [f"{counts[Status.OK]} of {ran - counted} exact"] if ran > counted else []
    sampled = sum(record.ratio_basis == "sampled" for record in records)
    of_them = f", {sampled} of them scaled from a sample" if sampled else ""
    drawn = sum(record.ratio_basis in ("drawn", "sampled") for record in records)
    on = ", on operands drawn from a profile" if drawn else ""
    parts += [f"{counted} counted, without multiplying{on}{of_them}"] if counted else []
    parts = parts or ["nothing ran"]
    parts += [f"{counts[status]} {status}" for status in Status if status.failed and counts[status]]
    parts += [
        f"{counts[status]} {status}" + (f": {_reasons(records, status)}" if reasons else "")
        for status in (Status.UNAVAILABLE, Status.UNSUPPORTED)
        if counts[status]
    ]
    return "; ".join(parts)


def _reasons(records: Sequence[Record], status: Status) -> str:
    """Name each backend with this status, with its first reason and the number of others."""
    reasons: dict[str, dict[str, None]] = defaultdict(dict)
    for record in records:
        if record.status is status:
            reasons[record.backend][record.reason] = None
    return ", ".join(
        f"{backend} ({next(iter(found))}{_others(len(found) - 1)})"
        for backend, found in reasons.items()
    )


def _others(count: int) -> str:
    return f"; and {count} other reason{'s' if count > 1 else ''}" if count else ""


def failures(
    records: Sequence[Record], folder: Path = Path(), most: int = MOST_FAILURES
) -> list[str]:
    """Describe the records that failed, one text each, and say how many more there are.

    Parameters
    ----------
    records : sequence of Record
        All of the run.
    folder : Path
        The run's folder, from where the reader is.
    most : int
        Largest number that is described.
    """
    failed = [record for record in records if record.status.failed]
    if not failed:
        return []
    settings, labels = Settings(records), Labels(records)
    lines = [
        f"{record.status}: {place(record, settings)}, {labels.backend(record)}: "
        + _reason(record, folder)
        for record in failed[:most]
    ]
    if len(failed) > most:
        lines.append(f"and {len(failed) - most} more, in records.jsonl")
    return lines


def not_run(records: Sequence[Record]) -> list[str]:
    """Return why records did not run, one text for each status, backend and reason."""
    found = Counter(
        (record.status, record.backend, record.reason)
        for record in records
        if not record.status.ran
    )
    return [
        f"{status}: {backend}, {plural(count)}: {reason}"
        for (status, backend, reason), count in found.items()
    ]


def place(record: Record, settings: Settings) -> str:
    """Name the GEMM of a record with its shape, the settings, and how it was unpacked."""
    shape = f"{record.n}×{record.d}×{record.h}"
    if record.batch != 1:
        shape = f"{record.batch}×({shape})"
    chosen = record.strategy_chosen
    shown = "strategy" not in settings.elsewhere and chosen != record.strategy
    unpacked = record.max_digits_a != 1 or record.max_digits_b != 1
    by = [f"by {chosen}" if unpacked else "nothing to unpack"] if chosen and shown else []
    name = f"{settings.gemm(record)} ({record.op}, {record.phase}) {shape}"
    return ", ".join([name, *settings.sweep(record), *by])


def _reason(record: Record, folder: Path) -> str:
    parts = [record.reason] if record.reason else []
    if record.minimised:
        small = record.minimised
        parts.append(
            f"shown by {small.n}×{small.d}×{small.h}: accelsim run {folder / small.config}"
        )
    if record.mismatches and (not parts or record.status is Status.OVERFLOW):
        integers = record.batch * record.n * record.h
        parts.append(f"{record.mismatches:,} of {integers:,} integers differ")
        parts.append(f"by at most {record.max_abs_error:,}")
    return ", ".join(parts)


def plural(count: int) -> str:
    """Return a number of records in words."""
    return "1 record" if count == 1 else f"{count} records"
