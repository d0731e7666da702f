"""Write a bundle, one GEMM in memory at a time."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from accelsim.errors import InputError
from workloads.bundle import METADATA_KEY, SCHEMA
from workloads.gemm import Gemm

DTYPE_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def write_bundle(path: str | Path, gemms: Sequence[Gemm], source: Mapping[str, Any]) -> None:
    """Write GEMMs to a bundle, so that `open_bundle` gives them back.

    Operands go to the file one GEMM at a time, so the bundle may be larger than memory. The same
    GEMMs always give the same bytes. An existing file is replaced when the new one is complete.

    Parameters
    ----------
    path : str or Path
        The file to write; its folder exists.
    gemms : sequence of Gemm
        What to write, in this order; their names are unique.
    source : mapping
        Where the operands come from (model, package, text, licence), as JSON.

    Raises
    ------
    InputError
        If a name appears twice, an operand is neither float32, float16 nor bfloat16 or has not the
        shape that its GEMM declares, or the file cannot be written.
    """
    path = Path(path)
    names = [gemm.name for gemm in gemms]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}: GEMM {twice!r} appears twice; expected unique names")
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            _write(file, path, gemms, source)
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _write(file: BinaryIO, path: Path, gemms: Sequence[Gemm], source: Mapping[str, Any]) -> None:
    """Leave room for the header, stream the tensors, and then fill the header in."""
    members: dict[str, Any] = {"__metadata__": {METADATA_KEY: _metadata(gemms, source)}}
    length = len(_encode({**members, **_widest(gemms)}))
    length += -length % 8
    file.seek(8 + length)
    for gemm in gemms:
        members |= _write_operands(file, path, gemm, begin=file.tell() - 8 - length)
    file.seek(0)
    file.write(struct.pack("<Q", length) + _encode(members).ljust(length))


def _write_operands(file: BinaryIO, path: Path, gemm: Gemm, begin: int) -> dict[str, Any]:
    """Append the operands of one GEMM; return their entries in the header."""
    entries = {}
    shapes = gemm.shapes
    for key, shape, tensor in zip("ab", (shapes.a, shapes.b), gemm.load(), strict=True):
        name = f"{gemm.name}/{key}"
        entries[name] = _entry(f"{path}: tensor {name!r}", shape, tensor, begin)
        begin += tensor.nbytes
        file.write(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return entries


def _metadata(gemms: Sequence[Gemm], source: Mapping[str, Any]) -> str:
    described = [
        {"name": gemm.name, "op": gemm.op, "layer": gemm.layer, "phase": gemm.phase}
        for gemm in gemms
    ]
    return json.dumps({"schema": SCHEMA, "source": dict(source), "gemms": described})


def _widest(gemms: Sequence[Gemm]) -> dict[str, Any]:
    """Return entries at least as long as the final ones: the longest type, the largest offsets."""
    end = sum(8 * (g.batch * g.d * (g.n + g.h)) for g in gemms)
    return {
        f"{gemm.name}/{key}": {"dtype": "BF16", "shape": shape, "data_offsets": [end, end]}
        for gemm in gemms
        for key, shape in (("a", gemm.shapes.a), ("b", gemm.shapes.b))
    }


def _encode(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def _entry(where: str, shape: tuple[int, ...], tensor: Tensor, begin: int) -> dict[str, Any]:
    if tensor.dtype not in DTYPE_NAMES:
        raise InputError(f"{where}: found {tensor.dtype}; operands are float32, float16, bfloat16")
    if tuple(tensor.shape) != shape:
        raise InputError(f"{where}: found shape {list(tensor.shape)}; expected {list(shape)}")
    return {
        "dtype": DTYPE_NAMES[tensor.dtype],
        "shape": shape,
        "data_offsets": [begin, begin + tensor.nbytes],
    }
