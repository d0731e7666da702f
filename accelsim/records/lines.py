"""The lines of a ``records.jsonl``, the last of which may be torn if the run was killed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from accelsim.errors import InputError
from accelsim.records.keyed import Keyed, RecordKey

R = TypeVar("R", bound=Keyed)


def parse_lines(data: bytes, path: Path, kind: type[R]) -> tuple[list[R], int]:
    """Read the records of a file and find where a torn last line starts.

    A last line without its line end is a record if it is whole, and torn otherwise.

    Parameters
    ----------
    data : bytes
        The content of the file.
    path : Path
        Its name, for messages.
    kind : type
        Of the records.

    Returns
    -------
    records : list
    torn : int
        The bytes of the torn last line; 0 if there is none.

    Raises
    ------
    InputError
        If another line is broken, or has the key of an earlier one; the message starts with
        ``file:line``.
    """
    *lines, last = data.split(b"\n")
    records: list[R] = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(kind.from_json(line))
        except ValueError as error:
            raise InputError(f"{path}:{number}: not a record: {_explain(error)}") from None
    torn = 0
    if last:
        try:
            records.append(kind.from_json(last))
        except ValueError:
            torn = len(last)
    _check_keys(records, path)
    return records, torn


def _check_keys(records: Sequence[Keyed], path: Path) -> None:
    lines: dict[RecordKey, int] = {}
    for number, record in enumerate(records, start=1):
        first = lines.setdefault(record.key, number)
        if first != number:
            raise InputError(
                f"{path}:{number}: has the settings of line {first}, so that one of two results "
                "would be left out; remove one of these lines"
            )


def _explain(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first, *rest = error.errors()
        where = ".".join(str(part) for part in first["loc"])
        more = f" (and {len(rest)} more)" if rest else ""
        return f"{where}: {first['msg']}{more}" if where else f"{first['msg']}{more}"
    return f"{error}"
