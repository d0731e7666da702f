"""The accelerator my-accelerator: a CUDA kernel, compiled at its first use."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from gemm_backends import Accumulator, Availability, BackendError, GemmBackend

__all__ = ["MyAccelerator"]

SOURCE = Path(__file__).with_name("gemm.cu")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "my-accelerator"


class MyAccelerator(GemmBackend):
    """8-bit multipliers with 32-bit accumulators, on an NVIDIA GPU.

    The kernel is plain, and slower than float32: it says that it is emulated. Say ``"native"`` once
    it uses the unit that you mean; the conformance kit measures whether that can be so.
    """

    api_version = "1.1"
    name = "my-accelerator"
    bits = 8
    accumulator = Accumulator(bits=32, overflow="wrap")

    def availability(self) -> Availability:
        """Return whether there are a GPU and a compiler for it."""
        if not torch.cuda.is_available():
            return Availability(False, "torch finds no CUDA device", device="cuda")
        if shutil.which("nvcc") is None:
            return Availability(False, "nvcc of the CUDA toolkit is not on the PATH", device="cuda")
        # "emulated" marks times with a star, as those of a model in software; write "native" once
        # this code itself is what is to be timed.
        return Availability(available=True, execution="emulated", device="cuda")

    def prepare(self, digits: Tensor) -> Tensor:
        """Bring the digits to the GPU, row by row, without gaps."""
        return digits.cuda().contiguous()

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply digits ``[n, d]`` by ``[h, d]`` into ``[n, h]`` int32."""
        (n, d), h = a.shape, b.shape[0]
        product = torch.empty((n, h), dtype=torch.int32, device=a.device)
        if product.numel():
            library = _library(torch.cuda.get_device_capability(a.device))
            pointers = a.data_ptr(), b.data_ptr(), product.data_ptr()
            stream = torch.cuda.current_stream(a.device).cuda_stream
            error = library.my_accelerator_gemm(*pointers, n, d, h, stream)
            if error:
                raise BackendError(f"the kernel of {self.name!r} ended with CUDA error {error}")
        return product


@functools.cache
def _library(capability: tuple[int, int]) -> ctypes.CDLL:
    """Compile the kernel for a compute capability, unless that was done before, and load it."""
    architecture = "sm_{}{}".format(*capability)
    version = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    path = CACHE / f"{architecture}-{version}.so"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            fresh = Path(folder, path.name)
            command = ["nvcc", "-O3", "-shared", "-Xcompiler", "-fPIC", f"-arch={architecture}"]
            done = subprocess.run([*command, "-o", fresh, SOURCE], capture_output=True, text=True)
            if done.returncode:
                raise BackendError(f"nvcc cannot compile {SOURCE}:\n{done.stderr.strip()}")
            fresh.replace(path)  # whole or not at all, whoever else compiles it
    library = ctypes.CDLL(str(path))
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    library.my_accelerator_gemm.argtypes = [*[pointer] * 3, size, size, size, pointer]
    library.my_accelerator_gemm.restype = ctypes.c_int
    return library
