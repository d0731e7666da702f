"""Writing files and folders that are whole or not there, whoever crashes; locks of one writer."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from accelsim.errors import InputError


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the content of `path`, which is at every moment whole, old or new.

    Raises
    ------
    OSError
        If it cannot be written; the old content is then untouched.
    """
    commit(stage(path, data), path)


def stage(path: Path, data: bytes) -> Path:
    """Write `data` to a temporary file beside `path`, flushed to the disk, and return its name.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left behind.
    """
    return stage_by(path, lambda temporary: temporary.write_bytes(data))


def stage_by(path: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a temporary file beside `path`, flush it to the disk, and return its name.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left behind.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        write(temporary)
        _flush(temporary)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def commit(temporary: Path, path: Path) -> None:
    """Move a staged file to its place and flush the folder to the disk.

    Raises
    ------
    OSError
        If it cannot be moved; the staged file is then removed.
    """
    try:
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def make_once(path: Path, fill: Callable[[Path], None]) -> Path:
    """Return a file or folder that is made unless it is there, whole or not at all.

    Two processes may make the same at once; the first to finish wins.

    Parameters
    ----------
    path : Path
        What is to be there; the folder that it lies in exists.
    fill : callable
        Makes it under the name it is given, in a temporary folder.

    Raises
    ------
    OSError
        If it cannot be moved to its place.
    """
    if path.exists():
        return path
    with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
        made = Path(temporary, path.name)
        fill(made)
        try:
            made.rename(path)
        except OSError:
            if not path.exists():
                raise
    return path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock, which other processes wait for; its file stays."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _flush(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FolderLock:
    """A lock on a folder, held by one process until it is released or the process ends.

    Parameters
    ----------
    path : Path
        The lock file; it is there while the lock is held.

    Raises
    ------
    InputError
        If another process holds the lock.
    OSError
        If the lock file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                raise InputError(f"another run is writing to {path.parent}") from None
            except OSError:
                os.close(descriptor)
                raise
            if _names(path, descriptor):
                break
            os.close(descriptor)
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Remove the lock file and release the lock, if it is still held."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def _names(path: Path, descriptor: int) -> bool:
    """Return whether `path` is still the file that was opened, not one its last holder removed."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
