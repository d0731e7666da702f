"""Packages of Debian: downloaded by apt or given as files, checked, read, never installed."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from accelsim.errors import InputError

_MAGIC = b"!<arch>\n"


class Package(BaseModel):
    """A package of Debian.

    Parameters
    ----------
    name, version : str
        As apt has them.
    sha256 : str
        Of the ``.deb`` file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


def fetch_package(
    package: Package, folder: Path, given: Path | None, say: Callable[[str], None]
) -> bytes:
    """Return the content of a package's file, of which the hash was checked.

    Parameters
    ----------
    package : Package
        Which one.
    folder : Path
        Where apt may download to.
    given : Path or None
        A ``.deb`` file, or a folder that holds some, instead of a download.
    say : callable
        Called with what is being done.

    Raises
    ------
    InputError
        If the file cannot be had, or its hash is another.
    """
    if given is None:
        say(f"downloading {package.name} {package.version}")
        path = _download(package, folder)
    else:
        path = _within(package, given) if given.is_dir() else given
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != package.sha256:
        raise InputError(
            f"{path}: has SHA-256 {digest}; expected {package.sha256}, which is that of "
            f"{package.name} {package.version}: nothing of it was used"
        )
    return content


def files_of(content: bytes, path: str) -> Iterator[tuple[str, bytes]]:
    """Yield the regular files in a package, by the name that they would be installed under.

    Parameters
    ----------
    content : bytes
        Of a ``.deb`` file.
    path : str
        How the name of the package's file is given in messages.

    Raises
    ------
    InputError
        If it is not such a file.
    """
    archive = _member(content, "data.tar", path)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for entry in tar:
                if entry.isfile():
                    stream = tar.extractfile(entry)
                    assert stream is not None, "a regular file has content"
                    yield entry.name.removeprefix("."), stream.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"{path}: its files cannot be read: {error}") from error


def _member(content: bytes, prefix: str, path: str) -> bytes:
    """Return the member of an ar archive whose name starts so."""
    if not content.startswith(_MAGIC):
        raise InputError(f"{path}: is not a package of Debian (an ar archive)")
    at = len(_MAGIC)
    while at + 60 <= len(content):
        name = content[at : at + 16].decode("latin-1").rstrip(" /")
        size = int(content[at + 48 : at + 58])
        if name.startswith(prefix):
            found = content[at + 60 : at + 60 + size]
            if len(found) < size:
                raise InputError(f"{path}: is cut off")
            return found
        at += 60 + size + size % 2
    raise InputError(f"{path}: has no {prefix}")


def _download(package: Package, folder: Path) -> Path:
    hint = f"; give the file of {package.name} {package.version} by --from"
    if shutil.which("apt-get") is None:
        raise InputError(f"{package.name}: there is no apt-get here to download it{hint}")
    command = ["apt-get", "download", "--quiet", f"{package.name}={package.version}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    files = list(folder.glob(f"{package.name}_*.deb"))
    if done.returncode or len(files) != 1:
        errors = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        reason = " ".join(errors) or done.stderr.strip()[-500:] or "no file came"
        raise InputError(f"{package.name}: apt-get cannot download it: {reason}{hint}")
    return files[0]


def _within(package: Package, folder: Path) -> Path:
    files = sorted(folder.glob(f"{package.name}_*.deb"))
    if len(files) != 1:
        raise InputError(
            f"{folder}: has {len(files)} files {package.name}_*.deb; expected the one of "
            f"version {package.version}"
        )
    return files[0]
