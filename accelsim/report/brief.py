"""The end of a run's output: sums and verdict, in few enough lines that none scrolls away."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

from accelsim.measure.ratios import explain_doubts
from accelsim.records import Record
from accelsim.records.fields import STAGES
from accelsim.records.folder import TABLE
from accelsim.records.record import Stage
from accelsim.report.brief_designs import design_block
from accelsim.report.brief_rows import CutTable, sum_block
from accelsim.report.cells import printable
from accelsim.report.designs import designs
from accelsim.report.differences import busy
from accelsim.report.limits import limits
from accelsim.report.problems import failures, plural, verdict
from accelsim.report.summary import EXECUTION, has_every_gemm
from accelsim.report.summary_rows import Labels
from accelsim.report.words import explain_strategies
from accelsim.types import Side

MOST_LINES = 30
"""Largest number of printed lines."""

WIDTH = 80
"""Columns of a line where there is no terminal."""

NEXT_LINES = 3
"""Largest number of lines of `next_steps`."""

_MANY_DESIGNS = 8
_LEGEND_LINES = 5
_LEGEND_LINES_BESIDE_DESIGNS = 3
_MOST_FAILURES = 3
_NOUNS: dict[Stage, str] = {
    "quantize": "quantizing",
    "unpack": "unpacking",
    "prepare": "preparing digits for the backend",
    "gemm": "multiplying",
    "pack": "packing",
    "dequantize": "dequantizing",
}


def brief(
    records: Iterable[Record],
    folder: Path = Path(),
    width: int = WIDTH,
    prepared: Sequence[Side] = (),
    own: Sequence[str] = (),
    profiles: Sequence[str] = (),
) -> str:
    """Say what a run found: sums over its GEMMs, then the verdict.

    The tables are cut where it would take more than `MOST_LINES` lines together with `next_steps`;
    ``table.txt`` in the run's folder is not cut.

    Parameters
    ----------
    records : iterable of Record
        The records of one run.
    folder : Path
        The run's folder, from where the reader is.
    width : int
        Columns of a line.
    prepared : sequence of {"a", "b"}
        Operands that the config wants prepared; where they were not, that is said.
    own : sequence of str
        Backends that are classes in files, as `accelsim verify` takes them.
    profiles : sequence of str
        What operands are drawn from that the config's models do not bring.

    Returns
    -------
    str
        Text with a line end.
    """
    records = tuple(records)
    ran = [record for record in records if record.status.ran]
    designs = design_block(records, width)
    # The times of models in software mean little: where there are no others, `TABLE` has them.
    modelled = bool(ran) and all(record.cycles is not None for record in ran)
    sums = sum_block(ran, width) if ran and not modelled else None
    said = [
        "",
        *_wrapped(_unprepared(ran, prepared), width, 3),
        *_verdict(records, folder, width, not modelled, _are_many(designs)),
    ]
    said += _wrapped(_unverified(ran, own), width, 2)
    said += _wrapped(_drawn(ran, profiles), width, 2)
    # What the tables leave is the legend's, which is cut only below a few lines.
    tables = (sums.lines if sums else 0) + (1 + designs.lines if designs else 0)
    spare = MOST_LINES - NEXT_LINES - tables - len(said) - 1
    least = _LEGEND_LINES if designs is None else _LEGEND_LINES_BESIDE_DESIGNS
    explained = [table for table in (sums, designs) if table is not None]
    tail = _legend(ran, explained, width, max(least, spare)) if explained else []
    tail += said
    room = MOST_LINES - NEXT_LINES - len(tail)
    if designs is not None:
        beside = 1 + sums.lines if sums is not None else 0
        rows = designs.cut(max(room // 3, room - beside - 1) if sums else room)
        tail = [*([""] if sums else []), *rows, *tail] if rows else tail
    lines = [*(sums.cut(MOST_LINES - NEXT_LINES - len(tail)) if sums else []), *tail]
    while lines and not lines[0]:
        lines = lines[1:]
    return "".join(f"{printable(line).rstrip()}\n" for line in lines)


def _legend(ran: Sequence[Record], tables: Sequence[CutTable], width: int, most: int) -> list[str]:
    """Explain marks and columns in one paragraph of some lines, the most important first."""
    ratios = [ratio for table in tables for ratio in table.ratios]
    terms = [f"{mark}: {meaning}" for mark, meaning in explain_doubts(ratios).items()]
    if any(table.names_backends for table in tables):
        for execution, words in EXECUTION.items():
            if any(record.execution == execution for record in ran):
                terms.append(f"*: {words}")
    if len({record.strategy for record in ran}) > 1:  # the table names them
        terms += [f"{name}: {words}" for name, words in explain_strategies(ran).items()]
    if any(table.names_backends for table in tables):
        terms += [note.removesuffix(".") for note in Labels(ran).notes()]
    meanings = {title: words for table in tables for title, words in table.meanings.items()}
    terms += [f"{title}: {meaning}" for title, meaning in meanings.items()]
    rest = f"{TABLE} explains every column."
    return ["", *_wrapped(". ".join([*terms, rest]), width, most, f" … {rest}")]


def _are_many(designs: CutTable | None) -> bool:
    """Whether there are so many designs that their lines need the room of sentences."""
    return designs is not None and len(designs.rows) > _MANY_DESIGNS


def _verdict(
    records: Sequence[Record], folder: Path, width: int, timed: bool, short: bool
) -> list[str]:
    """Say what took the time, what limits designs, what failed, and how many were exact."""
    lines = _wrapped(_dominant(records), width, 2) if timed else []
    for words in limits(designs(records), short):
        lines += _wrapped(words, width, 3)
    for number, words in enumerate(failures(records, folder, _MOST_FAILURES)):
        lines += _wrapped(words, width, 1 if number else 5)
    return [*lines, *_wrapped(verdict(records), width, 3)]


def _unprepared(ran: Sequence[Record], asked: Sequence[Side]) -> str:
    """Say for how many records `timing.prepared` could not be had, and why."""
    parts = []
    for side in asked:
        known = [record for record in ran if record.prepared is not None]
        without = [record for record in known if side not in (record.prepared or ())]
        if without:
            why = Counter(map(_why_unprepared, without))
            reasons = "; ".join(f"{reason} ({number})" for reason, number in why.items())
            parts.append(
                f"{side.upper()} could not be prepared ahead (timing.prepared) in {len(without)} "
                f"of {plural(len(known))}: {reasons}."
            )
    return " ".join(parts)


def _unverified(ran: Sequence[Record], own: Sequence[str]) -> str:
    """Say that the verdict is about the GEMMs of this run, and what examines a new backend."""
    if not own or not any(record.exact is not None for record in ran):
        return ""
    return (
        f"That holds for these GEMMs: accelsim verify {quote(own[0])} also tries odd shapes, "
        "extreme digits and long sums."
    )


def _drawn(ran: Sequence[Record], profiles: Sequence[str]) -> str:
    """Name what operands were drawn from."""
    if not profiles or not any(record.ratio_basis in ("drawn", "sampled") for record in ran):
        return ""
    return (
        f"Profile of the operands: {', '.join(profiles)}. The seed of each is its GEMM's name or "
        "kind, so that every run draws the same."
    )


def _why_unprepared(record: Record) -> str:
    """Name what is new in every repeat."""
    if (record.k_pieces or 1) > 1:
        return "K is cut into pieces"
    chosen = record.strategy_chosen or record.strategy
    if "column" in chosen or "both" in chosen:
        return "high digits lie in further columns, so that the layout depends on both operands"
    return f"strategy {chosen}"


def _dominant(records: Sequence[Record]) -> str:
    """Say which stage takes most of the time of all records together, and whether to trust it."""
    times: dict[Stage, float] = defaultdict(float)
    total = 0.0
    for record in records:
        if "total" in record.time_ms:
            total += record.time_ms["total"].median
            for stage in STAGES.keys() & record.time_ms.keys() - {"total"}:
                times[stage] += record.time_ms[stage].median
    if not total or not times:
        return ""
    stage = max(times, key=lambda name: times[name])
    words = f"{_NOUNS[stage].capitalize()} is {times[stage] / total:.0%} of the total time."
    said = busy(records)
    return (
        f"{words} This {said}, so times are longer than on a quiet one, and ratios can be wrong."
        if said
        else words
    )


def next_steps(records: Sequence[Record], folder: Path) -> list[str]:
    """Return the lines that say where the rest is, and which commands come next."""
    path = quote(str(folder))
    whole = has_every_gemm(records)
    compare = {f"accelsim compare {path}": "backends side by side"}
    each = {f"accelsim compare {path} --rows gemm": "every GEMM"}
    lacking = "" if find_spec("seaborn") else " (needs the extra `report`)"
    commands = {
        f"accelsim report {path}": f"a page with tables and figures{lacking}",
        **(compare if whole else each),
    }
    widest = max(map(len, commands))
    first, second = (f"{line:{widest}}  {what}" for line, what in commands.items())
    found = f"with every GEMM in {TABLE}" if whole else f"with the sums by kind of GEMM in {TABLE}"
    where = f"{plural(len(records))} in {folder}, {found}."
    return [where, f"Next: {first}", f"      {second}"]


def terminal_width() -> int:
    """Return the columns of the terminal that standard output is, `WIDTH` if it is none."""
    if not sys.stdout.isatty():
        return WIDTH
    return shutil.get_terminal_size((WIDTH, MOST_LINES)).columns


def _wrapped(words: str, width: int, most: int, cut: str = " …") -> list[str]:
    return textwrap.wrap(
        words,
        width,
        max_lines=most,
        placeholder=cut,
        break_on_hyphens=False,
        break_long_words=False,
    )
