"""Compile CUDA sources at first use, keep what was compiled, and call it.

Every source becomes a shared library of its own with a plain C interface, so that nothing depends
on the version of torch. It is kept under a hash of all that decides its machine code: the source,
the headers beside it, the flags, the architecture, and the versions of nvcc and CUTLASS.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from accelsim.errors import AccelsimError
from accelsim.files import locked, make_once
from accelsim.kernels.cache import cache_folder
from accelsim.plugins.extras import how_to_install

if TYPE_CHECKING:
    import torch

FLAGS = (
    "-std=c++17",
    "-O3",
    "-DNDEBUG",
    "-shared",
    "--expt-relaxed-constexpr",
    "-Xcompiler=-fPIC,-fvisibility=hidden",
)
"""Without NDEBUG, ptxas serializes the wgmma instructions of CUTLASS's kernels."""

CSRC = Path(__file__).parent / "csrc"
"""Every CUDA source of the suite, and the headers that any source may include."""

CUTLASS_STATUS = 10_000
"""Added by the C functions to a status of CUTLASS, to distinguish it from a CUDA error."""

_INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)

MESSAGE_LINES = 40
"""Number of characters shown of a failed compiler's output."""


class BuildError(AccelsimError):
    """A CUDA source could not be compiled; the message has the compiler's own."""


class CudaError(AccelsimError):
    """A kernel could not be launched."""


@dataclass(frozen=True)
class CudaSource:
    """One CUDA source file that becomes one shared library.

    Parameters
    ----------
    path : Path
        The ``.cu`` file. Headers are looked up in its folder and in `CSRC`.
    cutlass : bool
        Whether it includes CUTLASS's headers.
    """

    path: Path
    cutlass: bool = False

    def load(self, architecture: str) -> ctypes.CDLL:
        """Return the library for an architecture, compiled if it is not there yet.

        Parameters
        ----------
        architecture : str
            Such as ``"sm_90a"``.

        Raises
        ------
        BuildError
            If nvcc or CUTLASS is missing, or the compiler fails.
        """
        return _loaded(self, architecture)

    def launch(self, symbol: str, device: torch.device, *arguments: Any) -> None:
        """Call a C function that launches kernels on the current stream of a device.

        Parameters
        ----------
        symbol : str
            The function. It takes the arguments, then the stream, and returns 0, a ``cudaError_t``
            or 10,000 plus a ``cutlass::Status``.
        device : torch.device
            A CUDA device.
        *arguments
            Tensors on that device, passed as pointers; None, passed as a null pointer; floats as
            ``double``; integers as ``int64_t``, which also serves for narrower parameters.

        Raises
        ------
        BuildError
            If the library has to be compiled and cannot be.
        CudaError
            If the function returns anything but 0.
        """
        import torch

        function = self.function(symbol, device)
        values = [_c_argument(x) for x in arguments]
        current = torch.cuda.current_device()
        index = current if device.index is None else device.index
        # Python's wrappers of both take as long as the rest of the call.
        values.append(ctypes.c_void_p(torch._C._cuda_getCurrentRawStream(index)))
        if index == current:
            status = function(*values)
        else:
            with torch.cuda.device(device):
                status = function(*values)
        if status:
            raise_for(status, symbol)

    def function(self, symbol: str, device: torch.device) -> Any:
        """Return a C function for a device; its library is compiled if it is not there yet.

        Raises
        ------
        BuildError
            If it cannot be compiled.
        """
        return _function(self, symbol, device)

    def build(self, architecture: str) -> Path:
        """Compile for an architecture unless that was done before; return the library's path.

        Two processes that want the same library wait for each other, and an interrupted build
        leaves nothing behind that looks finished.

        Raises
        ------
        BuildError
            If nvcc or CUTLASS is missing, or the compiler fails.
        """
        library = self.library(architecture)
        if library.exists():
            return library
        with locked(library.with_suffix(".lock")):
            return make_once(library, functools.partial(self._compile, architecture))

    def library(self, architecture: str) -> Path:
        """Return where the compiled library is kept, whether it exists or not.

        Raises
        ------
        BuildError
            If nvcc or CUTLASS is missing.
        """
        version = subprocess.run([nvcc(), "--version"], capture_output=True, check=True).stdout
        facts = [version, " ".join((*FLAGS, *_target(architecture))).encode()]
        if self.cutlass:
            cutlass_includes()
            facts.append(importlib.metadata.version("nvidia-cutlass").encode())
        facts += [path.read_bytes() for path in (self.path, *self._headers())]
        key = hashlib.sha256(b"".join(hashlib.sha256(fact).digest() for fact in facts)).hexdigest()
        return cache_folder() / f"{self.path.stem}-{architecture}-{key[:16]}.so"

    def _headers(self) -> list[Path]:
        """Return the headers that the source includes by their quoted names, and theirs."""
        found: dict[str, Path] = {}
        open_files = [self.path]
        while open_files:
            for name in _INCLUDE.findall(open_files.pop().read_text("utf-8")):
                for folder in (self.path.parent, CSRC):
                    if name not in found and (folder / name).exists():
                        found[name] = folder / name
                        open_files.append(folder / name)
        return [found[name] for name in sorted(found)]

    def _compile(self, architecture: str, output: Path) -> None:
        includes = [self.path.parent, CSRC, *(cutlass_includes() if self.cutlass else ())]
        command = [
            nvcc(),
            *FLAGS,
            *_target(architecture),
            *(f"-I{path}" for path in includes),
            "-o",
            str(output),
            str(self.path),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = "\n".join((done.stderr or done.stdout).splitlines()[:MESSAGE_LINES])
            raise BuildError(f"nvcc could not compile {self.path.name} for {architecture}:\n{said}")


def raise_for(status: int, symbol: str) -> NoReturn:
    """Raise for what a C function returned.

    Raises
    ------
    CudaError
        With the function's name.
    """
    if status >= CUTLASS_STATUS:
        raise CudaError(f"{symbol}: CUTLASS status {status - CUTLASS_STATUS}")
    raise CudaError(f"{symbol}: CUDA error {status}")


def architecture_of(capability: tuple[int, int]) -> str:
    """Return nvcc's name of a compute capability, with Hopper's own instructions."""
    major, minor = capability
    return f"sm_{major}{minor}" + ("a" if capability == (9, 0) else "")


def nvcc() -> str:
    """Return the path of CUDA's compiler: from ``$CUDA_HOME``, PATH or ``/usr/local/cuda``.

    Raises
    ------
    BuildError
        If there is none.
    """
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    candidates = [str(Path(home, "bin", "nvcc")) if home else None for home in homes]
    for candidate in (*candidates[:2], "nvcc", candidates[2]):
        if candidate and (found := shutil.which(candidate)):
            return found
    raise BuildError(
        "nvcc, CUDA's compiler, is not found: install the CUDA toolkit, or set CUDA_HOME to it"
    )


def cutlass_includes() -> tuple[Path, ...]:
    """Return the include folders of CUTLASS, from the ``nvidia-cutlass`` package.

    Raises
    ------
    BuildError
        If it is not installed.
    """
    spec = importlib.util.find_spec("cutlass_library")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        source = Path(folder, "source")
        if (source / "include" / "cutlass" / "cutlass.h").exists():
            return source / "include", source / "tools" / "util" / "include"
    raise BuildError(f"CUTLASS's headers are missing: {how_to_install('cuda')}")


def missing_tools(cutlass: bool) -> str:
    """Return what is missing to compile here; empty if nothing is."""
    try:
        nvcc()
        if cutlass:
            cutlass_includes()
    except BuildError as error:
        return str(error)
    return ""


@functools.cache
def _function(source: CudaSource, symbol: str, device: torch.device) -> Any:
    import torch

    return source.load(architecture_of(torch.cuda.get_device_capability(device)))[symbol]


@functools.cache
def _loaded(source: CudaSource, architecture: str) -> ctypes.CDLL:
    return ctypes.CDLL(str(source.build(architecture)))


@functools.cache
def compiles_for(device: torch.device) -> bool:
    """Whether kernels are compiled here for a device: it is one of NVIDIA's, and nvcc is there."""
    import torch

    return device.type == "cuda" and torch.version.cuda is not None and not missing_tools(False)


_C_TYPES: dict[type, Any] = {
    int: ctypes.c_int64,
    bool: ctypes.c_int64,
    float: ctypes.c_double,
    type(None): ctypes.c_void_p,
}


def _c_argument(value: Any) -> Any:
    c_type = _C_TYPES.get(type(value))
    if c_type is not None:
        return c_type(value)
    if isinstance(value, ctypes.Structure):
        return ctypes.byref(value)
    if isinstance(value, ctypes.c_void_p):
        return value
    if isinstance(value, int):
        return ctypes.c_int64(value)
    return ctypes.c_void_p(value.data_ptr())


def _target(architecture: str) -> tuple[str, ...]:
    number = architecture.removeprefix("sm_")
    return (
        f"-gencode=arch=compute_{number},code={architecture}",
        f"-DACCELSIM_SM={number.rstrip('a')}",
    )
