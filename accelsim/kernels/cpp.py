"""Compile C++ sources against PyTorch's headers, and keep what was compiled.

They become shared libraries with a plain C interface. What is kept depends on the version of torch,
which is in the hash that names it, as are the source, the flags and the compiler.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from accelsim.files import locked, make_once
from accelsim.kernels.cache import cache_folder
from accelsim.kernels.nvcc import CSRC, BuildError

FLAGS = ("-std=c++20", "-O2", "-DNDEBUG", "-shared", "-fPIC", "-fvisibility=hidden")

MESSAGE_LINES = 40
"""Number of lines shown of a failed compiler's output."""


def build(name: str) -> Path:
    """Compile a source of `CSRC` unless that was done before; return the library's path.

    Raises
    ------
    BuildError
        If there is no C++ compiler, or it fails.
    """
    library = path_of(name)
    if library.exists():
        return library
    with locked(library.with_suffix(".lock")):
        return make_once(library, functools.partial(_compile, name))


def path_of(name: str) -> Path:
    """Return where a compiled library is kept, whether it exists or not.

    Raises
    ------
    BuildError
        If there is no C++ compiler.
    """
    facts = [
        CSRC.joinpath(name).read_bytes(),
        " ".join(_flags()).encode(),
        _compiler_version(_compiler()),
        f"{torch.__version__} {torch.version.git_version}".encode(),
    ]
    key = hashlib.sha256(b"".join(hashlib.sha256(fact).digest() for fact in facts)).hexdigest()
    return cache_folder() / f"{Path(name).stem}-{key[:16]}.so"


@functools.cache
def load(library: Path) -> ctypes.PyDLL:
    """Load a library, whose functions are called with Python's lock held."""
    return ctypes.PyDLL(str(library))


def _compile(name: str, output: Path) -> None:
    command = [_compiler(), *_flags(), "-o", str(output), str(CSRC / name), *_libraries()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).splitlines()[:MESSAGE_LINES])
        raise BuildError(f"{command[0]} could not compile {name}:\n{said}")


def _flags() -> tuple[str, ...]:
    abi = int(torch.compiled_with_cxx11_abi())
    return *FLAGS, f"-D_GLIBCXX_USE_CXX11_ABI={abi}", f"-I{_home() / 'include'}"


def _libraries() -> tuple[str, ...]:
    return f"-L{_home() / 'lib'}", "-lc10", "-ltorch_cpu"


def _home() -> Path:
    return Path(torch.__file__).parent


def _compiler() -> str:
    if sys.platform != "linux":
        raise BuildError(f"C++ sources are compiled on Linux alone, not on {sys.platform}")
    for candidate in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if candidate and (found := shutil.which(candidate)):
            return found
    raise BuildError("no C++ compiler is found: install g++, or set CXX to one")


@functools.cache
def _compiler_version(compiler: str) -> bytes:
    return subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
