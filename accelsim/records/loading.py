"""Reading a run back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.errors import InputError
from accelsim.records.folder import RECORDS, RUN, read_run_json
from accelsim.records.lines import parse_lines
from accelsim.records.record import Record


@dataclass(frozen=True)
class Run:
    """A run as it was read: its records, and what its ``run.json`` says.

    `config` is empty and `sessions` too when only a ``records.jsonl`` was there. There is one
    session for the start and one for each time the run was resumed.

    Parameters
    ----------
    path : Path
        The folder or file that was read.
    config : Mapping[str, Any]
        The resolved config.
    records : tuple[Record, ...]
        All records, in their order.
    sessions : tuple[Mapping[str, Any], ...]
        Machine, versions, start and end of each session.
    """

    path: Path
    config: Mapping[str, Any]
    records: tuple[Record, ...]
    sessions: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        """The name of the folder."""
        folder = self.path if self.path.is_dir() else self.path.parent
        return folder.resolve().name

    @property
    def machine(self) -> Mapping[str, Any]:
        """What `accelsim.measure.machine.environment` said when the run started, if known."""
        return self.sessions[0]["machine"] if self.sessions else {}


def load_run(path: Path | str) -> Run:
    """Read a run folder, or a ``records.jsonl`` alone.

    A torn last line is left out, with a warning on stderr: the run was killed, or still goes on.

    Parameters
    ----------
    path : Path or str
        The folder or the file.

    Returns
    -------
    Run
        The records and what ``run.json`` says.

    Raises
    ------
    InputError
        If there is no such run, or a line is broken (``file:line`` is in the message).
    """
    path = Path(path)
    file = path / RECORDS if path.is_dir() else path
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        what = f"it has no {RECORDS}" if path.is_dir() else "it does not exist"
        raise InputError(f"{path} is not a run: {what}") from None
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    records, torn = parse_lines(data, file, Record)
    if torn:
        print(
            f"accelsim: warning: {file}: the last line is torn and left out: the run was killed "
            "(go on with --resume) or is still writing",
            file=sys.stderr,
        )
    run_file = file.parent / RUN
    run = read_run_json(run_file) if run_file.exists() else {"config": {}, "sessions": []}
    return Run(path, run["config"], tuple(records), tuple(run["sessions"]))
