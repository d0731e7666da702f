"""Reading a run back."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from accelsim.errors import InputError
from accelsim.records.experiments import EvalRecord, TrainRecord
from accelsim.records.folder import RECORDS, RUN, read_run_json
from accelsim.records.keyed import Keyed
from accelsim.records.ladder import LadderRecord
from accelsim.records.lines import parse_lines
from accelsim.records.record import Record
from accelsim.records.tuning import SensitivityRecord, TuneRecord

ExperimentRecord: TypeAlias = (
    EvalRecord | TrainRecord | SensitivityRecord | TuneRecord | LadderRecord
)

R = TypeVar("R", bound=Keyed)


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
        return _name(self.path)

    @property
    def machine(self) -> Mapping[str, Any]:
        """What `accelsim.measure.machine.environment` said when the run started, if known."""
        return self.sessions[0]["machine"] if self.sessions else {}


@dataclass(frozen=True)
class ExperimentRun:
    """A run of ``accelsim eval``, ``train``, ``sensitivity``, ``tune`` or ``ladder``, as read."""

    path: Path
    config: Mapping[str, Any]
    records: tuple[ExperimentRecord, ...]
    sessions: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        """The name of the folder."""
        return _name(self.path)


_TELLING: tuple[tuple[type[ExperimentRecord], frozenset[str]], ...] = (
    (TrainRecord, frozenset({"treatment", "losses"})),
    (EvalRecord, frozenset({"treatment"})),
    (TuneRecord, frozenset({"plan_sha256"})),
    (SensitivityRecord, frozenset({"divergence"})),
    (LadderRecord, frozenset({"way", "relative_error"})),
)
"""Fields that tell the records of a kind from those of the kinds below it."""


def kind_of(path: Path | str) -> type[Record | ExperimentRecord]:
    """Say of which kind the records of a run are, by the fields of the first.

    Raises
    ------
    InputError
        If there is no such run.
    """
    _, data = _content(Path(path))
    try:
        first = json.loads(data.partition(b"\n")[0] or b"{}")
    except ValueError:
        return Record  # reading the run reports the line that is broken
    if not isinstance(first, dict):
        return Record
    for kind, fields in _TELLING:
        if fields <= first.keys():
            return kind
    return Record


def load_experiment(path: Path | str, kind: type[ExperimentRecord]) -> ExperimentRun:
    """Read the folder of an experiment with a model, or a ``records.jsonl`` alone.

    Parameters
    ----------
    path : Path or str
        The folder or the file.
    kind : type
        Of the records, as `kind_of` returns it.

    Raises
    ------
    InputError
        If there is no such run, or a line is broken (``file:line`` is in the message).
    """
    path = Path(path)
    records, run = _read(path, kind)
    return ExperimentRun(path, run["config"], tuple(records), tuple(run["sessions"]))


def load_run(path: Path | str) -> Run:
    """Read a run folder, or a ``records.jsonl`` alone.

    A torn last line is left out, with a warning on stderr: the run was killed, or is still in
    progress.

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
    records, run = _read(path, Record)
    return Run(path, run["config"], tuple(records), tuple(run["sessions"]))


def _name(path: Path) -> str:
    folder = path if path.is_dir() else path.parent
    return folder.resolve().name


def _content(path: Path) -> tuple[Path, bytes]:
    """Return the file with the records of a run, and what it holds."""
    file = path / RECORDS if path.is_dir() else path
    try:
        return file, file.read_bytes()
    except FileNotFoundError:
        what = f"it has no {RECORDS}" if path.is_dir() else "it does not exist"
        raise InputError(f"{path} is not a run: {what}") from None
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error


def _read(path: Path, kind: type[R]) -> tuple[list[R], dict[str, Any]]:
    """Return the records of a run and its ``run.json``, which may be missing."""
    file, data = _content(path)
    records, torn = parse_lines(data, file, kind)
    if torn:
        print(
            f"accelsim: warning: {file}: the last line is torn and left out: the run was killed "
            "(continue with --resume) or is still writing",
            file=sys.stderr,
        )
    run_file = file.parent / RUN
    run = read_run_json(run_file) if run_file.exists() else {"config": {}, "sessions": []}
    return records, run
