"""A run folder while a run writes to it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from accelsim.errors import AccelsimError, InputError
from accelsim.files import FolderLock, commit, stage, write_atomically
from accelsim.measure.machine import environment, git_state
from accelsim.measure.timing import clock_source
from accelsim.records.difference import first_difference
from accelsim.records.keyed import Keyed, RecordKey
from accelsim.records.lines import parse_lines
from accelsim.records.record import Record

RECORDS = "records.jsonl"
RUN = "run.json"
TABLE = "table.txt"
PAGE = "report.html"
LOCK = ".lock"
MISMATCHES = "mismatches"
CHECKPOINTS = "checkpoints"

SYNC_S = 1.0
"""Seconds between two waits for the disk while cheap records are written."""


R = TypeVar("R", bound=Keyed)


class RunFolder(Generic[R]):
    """The folder of one run: ``records.jsonl``, ``run.json``, ``table.txt`` and ``mismatches``.

    Open it with `RunFolder.open`, best in a ``with`` block. Every record is in the file when
    `append` returns, and on the disk too: `SYNC_S` later at the most if it is cheap (see
    `Keyed.is_cheap`). A lock keeps a second run out until this one is closed or its process ends.

    A run that replaces an earlier one does so when it begins, which is at its first record at
    the latest: one that cannot start leaves the earlier results as they are. Records of what is
    unavailable (see `Keyed.available`) do not begin a run; they wait in memory for one that does.

    Parameters
    ----------
    path
        The folder.
    lock
        Held until the folder is closed.
    kind
        The class of its records.
    """

    def __init__(self, path: Path, lock: FolderLock, kind: type[R]) -> None:
        self.path = path
        self._lock = lock
        self._kind = kind
        self._records: list[R] = []
        self._keys: set[RecordKey] = set()
        self._run: dict[str, Any] = {}
        self._waiting: list[R] = []
        self._descriptor: int | None = None
        self._closed = False
        self._is_new = self._made = False
        self._synced, self._behind = 0.0, False

    @classmethod
    def open(
        cls,
        path: Path | str,
        config: Mapping[str, Any],
        config_hash: str,
        resume: bool = False,
        overwrite: bool = False,
        kind: type[R] = Record,  # type: ignore[assignment]
        check: Callable[[], object] = lambda: None,
    ) -> RunFolder[R]:
        """Make a new run folder, or continue an existing one.

        Parameters
        ----------
        path : Path or str
            The folder. It is made if it is missing, and used if it is empty.
        config : mapping
            The resolved config, of JSON types.
        config_hash : str
            Identifies the config.
        resume : bool
            Keep the existing records and add to them; a torn last line is removed.
        overwrite : bool
            Replace the existing run, once this one begins. Files that no run makes stay.
        kind : type
            Of the records.
        check : callable
            Called before a new run replaces an existing one; if it raises, nothing is replaced.

        Raises
        ------
        InputError
            If the folder exists and neither flag was given, if both were, if `resume` finds the
            records of another config, if another run is writing, or if the folder cannot be
            written. What was there is untouched.
        """
        path = Path(path)
        if resume and overwrite:
            raise InputError("--resume and --overwrite exclude each other")
        with _writing(path):
            if not (resume or overwrite):
                _refuse_existing(path)
            was_there = path.exists()
            path.mkdir(parents=True, exist_ok=True)
            folder = cls(path, FolderLock(path / LOCK), kind)
            folder._made = not was_there
        try:
            with _writing(path):
                if not (resume or overwrite):
                    _refuse_existing(path)
            going_on = resume and _holds_run(path)
            if not going_on:
                check()
            session = _session()
            with _writing(path):
                if going_on:
                    folder._continue(config, config_hash, session)
                else:
                    folder._prepare(config, config_hash, session)
                    folder._is_new = not _holds_run(path)
                    if folder._is_new:
                        folder._start()
        except BaseException:
            folder.close()
            raise
        return folder

    def _prepare(
        self, config: Mapping[str, Any], config_hash: str, session: dict[str, Any]
    ) -> None:
        self._run = {
            "schema": 1,
            "config_hash": config_hash,
            "config": dict(config),
            "sessions": [session],
        }

    @property
    def begun(self) -> bool:
        """Whether the files of this folder belong to this run and not to an earlier one."""
        return self._descriptor is not None

    def begin(self) -> None:
        """Replace the existing run, if this one has not begun; what it left is removed.

        Raises
        ------
        AccelsimError
            If the files cannot be written; the earlier run is then untouched.
        """
        if self.begun:
            return
        if self._closed:
            raise ValueError(f"{self.path} is closed")
        try:
            self._start()
        except OSError as error:
            raise AccelsimError(f"cannot write to {self.path}: {error.strerror}") from error
        waiting, self._waiting = self._waiting, []
        for record in waiting:
            self._write(record)

    def _start(self) -> None:
        staged_run = stage(self.path / RUN, _json_bytes(self._run))
        try:
            staged_records = stage(self.path / RECORDS, b"")
            # The records go first: a crash in between leaves none under another run's config.
            commit(staged_records, self.path / RECORDS)
            commit(staged_run, self.path / RUN)
        finally:
            staged_run.unlink(missing_ok=True)
        for name in (TABLE, PAGE):
            (self.path / name).unlink(missing_ok=True)
        for name in (MISMATCHES, CHECKPOINTS):
            shutil.rmtree(self.path / name, ignore_errors=True)
        self._open_records()

    def _continue(
        self, config: Mapping[str, Any], config_hash: str, session: dict[str, Any]
    ) -> None:
        self._run = read_run_json(self.path / RUN)
        if self._run["config_hash"] != config_hash:
            here = json.loads(_json_bytes(config))
            raise InputError(
                f"{self.path} holds a run of another config "
                f"({first_difference(self._run['config'], here)}): --resume continues only a "
                "run of the same config; choose another output, or --overwrite"
            )
        records = self.path / RECORDS
        data = records.read_bytes() if records.exists() else b""
        self._records, torn = parse_lines(data, records, self._kind)
        self._keys = {record.key for record in self._records}
        self._run["sessions"].append(session)
        self._write_run()
        self._open_records()
        assert self._descriptor is not None
        os.ftruncate(self._descriptor, len(data) - torn)
        if data and not torn and not data.endswith(b"\n"):
            os.write(self._descriptor, b"\n")
        os.fsync(self._descriptor)

    def _open_records(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self.path / RECORDS, flags, 0o644)

    def _write_run(self) -> None:
        write_atomically(self.path / RUN, _json_bytes(self._run))

    @property
    def records(self) -> tuple[R, ...]:
        """All records of the folder, those of an earlier session first, as a new tuple."""
        return tuple(self._records)

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self._records)

    def __iter__(self) -> Iterator[R]:
        """Go through the records, those of an earlier session first."""
        return iter(self._records)

    def __contains__(self, key: object) -> bool:
        """Return whether there is a record with a key (see `Keyed`)."""
        return key in self._keys

    def done_keys(self) -> frozenset[RecordKey]:
        """Return the keys of all existing records (see `Keyed`), as a new set."""
        return frozenset(self._keys)

    def append(self, record: R) -> None:
        """Write a record; it is in the file when this returns, if the run has begun.

        Parameters
        ----------
        record : R
            The record to add.

        Raises
        ------
        AccelsimError
            If it cannot be written, as on a full disk; all earlier records are whole.
        ValueError
            If a record with the same key exists, or the folder is closed.
        """
        if self._closed:
            raise ValueError(f"{self.path} is closed")
        key = record.key
        if key in self._keys:
            raise ValueError(f"there is already a record of {key}")
        if record.available:
            self.begin()
        if self.begun:
            self._write(record)
        else:
            self._waiting.append(record)
        self._records.append(record)
        self._keys.add(key)

    def _write(self, record: R) -> None:
        assert self._descriptor is not None
        line = record.to_json().encode() + b"\n"
        before = os.fstat(self._descriptor).st_size
        try:
            _write_all(self._descriptor, line)
            self._behind = record.is_cheap and time.monotonic() < self._synced + SYNC_S
            if not self._behind:
                os.fsync(self._descriptor)
                self._synced = time.monotonic()
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, before)
            raise AccelsimError(
                f"cannot write to {self.path / RECORDS}: {error.strerror}; its "
                f"{len(self._records)} records are safe: continue with --resume"
            ) from error

    def note(self, **facts: Any) -> None:
        """Add facts about this session to ``run.json``, where they stand once the run has begun.

        Parameters
        ----------
        **facts
            JSON values, by their keys in the session's entry.

        Raises
        ------
        AccelsimError
            If it cannot be written.
        """
        self._run["sessions"][-1] |= facts
        if not self.begun:
            return
        try:
            self._write_run()
        except OSError as error:
            raise AccelsimError(f"cannot write to {self.path}: {error.strerror}") from error

    def finish(self, table: str) -> None:
        """Write the rendered table and the time of the end, and close the folder.

        If nothing could run, an earlier run that was to be replaced is kept.

        Parameters
        ----------
        table : str
            The content of ``table.txt``.

        Raises
        ------
        AccelsimError
            If the files cannot be written; the records are safe.
        """
        if not self._waiting:
            self.begin()
        if self.begun:
            self._run["sessions"][-1]["end"] = _now()
            try:
                write_atomically(self.path / TABLE, table.encode())
                self._write_run()
            except OSError as error:
                raise AccelsimError(f"cannot write to {self.path}: {error.strerror}") from error
        self.close()

    def close(self) -> None:
        """Release the folder; a run that was not finished has no end time.

        Nothing stays of a new run that came to its end by an error before its first record.
        """
        if self._descriptor is not None:
            if self._behind:
                with suppress(OSError):  # what is not on the disk is made again
                    os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None
            if self._is_new and not self._records and self._run["sessions"][-1]["end"] is None:
                self._withdraw()
        self._closed = True
        self._lock.release()
        if self._made and not self._records:
            with suppress(OSError):  # not empty: it is a run's
                self.path.rmdir()

    def _withdraw(self) -> None:
        """Remove an empty run, so that the next one need not overwrite it."""
        with suppress(OSError):
            if {entry.name for entry in self.path.iterdir()} <= {RECORDS, RUN, LOCK}:
                for name in (RUN, RECORDS):
                    (self.path / name).unlink()

    def __enter__(self) -> RunFolder[R]:
        """Return the folder itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the folder."""
        self.close()


def read_run_json(path: Path) -> dict[str, Any]:
    """Read a ``run.json``.

    Raises
    ------
    InputError
        If it is missing or is not what a run writes.
    """
    try:
        run = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} is missing: its folder's config is unknown") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    fields = {"config": dict, "config_hash": str, "sessions": list}
    if not isinstance(run, dict) or not all(
        isinstance(run.get(name), kind) for name, kind in fields.items()
    ):
        raise InputError(f"{path} is not the run.json of a run: it needs {', '.join(fields)}")
    return run


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write to {path}: {error.strerror}") from error


def _refuse_existing(path: Path) -> None:
    """Refuse anything but a missing or an empty folder."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file: the output must be a folder")
    if path.exists() and any(entry.name != LOCK for entry in path.iterdir()):
        raise InputError(
            f"{path} exists: continue its run with --resume, replace it with --overwrite, "
            "or choose another output with -o"
        )


def _holds_run(path: Path) -> bool:
    return (path / RECORDS).exists() or (path / RUN).exists()


def _session() -> dict[str, Any]:
    machine = environment()
    devices = ("cpu", "cuda") if machine["gpus"] else ("cpu",)
    return {
        "start": _now(),
        "end": None,
        "machine": machine,
        "clock_source": {device: clock_source(device) for device in devices},
        "git": git_state(),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
