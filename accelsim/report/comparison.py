"""Default rows and columns of a comparison of runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from accelsim.records import KEY_FIELDS, Status
from accelsim.records.fields import FIELDS, STAGES
from accelsim.report.cells import text
from accelsim.report.fields import flatten, lookup
from accelsim.report.options import telling_options

ROWS = ("gemm", "beta", "bits", "strategy")

_OF_MODELS = ("cycles", "seconds", "energy")

_GEMM = ("workload", "gemm")

_HEADS = {
    "stalls": "stall_cycles",
    "mm²": "area_mm2",
    "r": "ratio",
    "MACs": "low_bit_macs",
    "attained": "roofline.achieved",
}
"""Heads of columns of other tables that are no titles of fields."""

_OF_BACKEND = ("backend", "backend_options")


def default_rows(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Return `ROWS`, and what else varies if a cell would hold several records without it."""
    rows = [field for field in ROWS if field not in columns]
    cells = {tuple(text(lookup(r, field)) for field in (*rows, *columns)) for r in records}
    if len(cells) == len(records):
        return rows
    swept = [
        field
        for field in KEY_FIELDS
        if field not in (*rows, *columns, *_OF_BACKEND)
        and len({text(record[field]) for record in records}) > 1
    ]
    return [*swept, *rows]


def default_columns(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the backend, with the run and the options where they tell records apart."""
    several = len({record["run"] for record in records}) > 1
    return [*(["run"] if several else []), "backend", *_telling(records)]


def default_values(records: Sequence[Mapping[str, Any]], usual: Sequence[str]) -> list[str]:
    """Return what is compared unless asked: of models cycles, seconds and energy; else `usual`.

    Whether products are exact is left out where nothing was multiplied, and so are times.

    Parameters
    ----------
    records : sequence of mapping
        What is compared.
    usual : sequence of str
        The values of backends that are no models.
    """
    counted = all(record["status"] == Status.COUNTED for record in records)
    if is_modelled(records):
        known = [name for name in _OF_MODELS if any(r[name] is not None for r in records)]
        return known if counted else ["exact", *known]
    return ["ratio", "low_bit_macs"] if counted else list(usual)


def is_modelled(records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the cycles of all that ran are modelled, and of at least one record."""
    ran = [record for record in records if Status(record["status"]).ran]
    return bool(ran) and all(record["cycles"] is not None for record in ran)


def field_named(name: str, known: Sequence[str]) -> str:
    """Return the field that a name or the head of a column means; the name itself if none.

    The last part of a path is enough where it is clear, as ``search`` for
    ``backend_options.memory.mapping.search``.

    Parameters
    ----------
    name : str
        As it was typed.
    known : sequence of str
        The fields that there are.
    """
    if name in known:
        return name
    heads = {field.title: field.name for field in FIELDS.values()}
    heads |= {stage.short: f"time_ms.{key}" for key, stage in STAGES.items()}
    if (found := (heads | _HEADS).get(name)) is not None and found in known:
        return found
    ends = [field for field in known if field.endswith(f".{name.replace(' ', '_')}")]
    return ends[0] if len(ends) == 1 else name


def splitting(
    records: Sequence[Mapping[str, Any]],
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[str],
) -> list[str]:
    """Return the fields that columns need besides, lest a cell is a median of different designs.

    Parameters
    ----------
    records : sequence of mapping
        What is compared.
    rows, columns, values : sequence of str
        Fields as `accelsim.report.pivot.pivot` takes them.
    """
    added: list[str] = []
    while True:
        groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
        for record in records:
            place = (text(lookup(record, name)) for name in (*rows, *columns, *added, *_GEMM))
            groups[tuple(place)].append(record)
        mixed = [group for group in groups.values() if any(_differ(group, v) for v in values)]
        settings = [name for name in KEY_FIELDS if name not in (*_GEMM, "backend_options", *added)]
        options = dict.fromkeys(
            f"backend_options.{name}"
            for group in mixed
            for record in group
            for name in flatten(record["backend_options"])
        )
        found = next(
            (
                name
                for name in (*settings, *options)
                if any(len({text(lookup(r, name)) for r in group}) > 1 for group in mixed)
            ),
            None,
        )
        if found is None:
            return added
        added.append(found)


def _differ(records: Sequence[Mapping[str, Any]], value: str) -> bool:
    """Whether records have different numbers, of which a median would be taken."""
    found = {lookup(record, value) for record in records if _is_number(lookup(record, value))}
    return len(found) > 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def with_options(
    records: Sequence[Mapping[str, Any]], fields: Sequence[str], others: Sequence[str]
) -> list[str]:
    """Return fields with the options that tell backends of one name apart behind the backend.

    Without them a cell would hold the median of different designs.

    Parameters
    ----------
    records : sequence of mapping
        What is compared.
    fields : sequence of str
        Those of the columns, or of the rows.
    others : sequence of str
        Those of the other ones; what they show is not added.
    """
    if "backend" not in fields:
        return list(fields)
    shown = [*fields, *others]
    added = [name for name in _telling(records) if not any(_overlap(name, s) for s in shown)]
    place = fields.index("backend") + 1
    return [*fields[:place], *added, *fields[place:]]


def _overlap(name: str, other: str) -> bool:
    """Whether one field is the other or a part of it."""
    return f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}.")


def _telling(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the fields of the options that differ between backends of one name in one run."""
    runs: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        runs[record["run"]].append(record)
    options = {
        f"backend_options.{name}": None
        for of_run in runs.values()
        for names in telling_options(of_run).values()
        for name in names
    }
    return list(options)
