"""The header of a safetensors file, checked before a single tensor is allocated."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.errors import InputError

MAX_HEADER_BYTES = 100_000_000
"""The largest header that the safetensors format allows."""

DTYPE_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 8),
}
"""Bytes of one element, by the format's name of the type."""


@dataclass(frozen=True)
class TensorEntry:
    """The header's entry of one tensor.

    Parameters
    ----------
    dtype : str
        The format's name of the type, such as ``"F32"``.
    shape : tuple of int
        Its dimensions.
    begin, end : int
        Its bytes, counted from the end of the header.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """A checked header.

    Every tensor lies inside the file, takes the bytes that its shape and type ask for, and follows
    the one before it without gap or overlap.

    Parameters
    ----------
    metadata : dict of str to str
        The free metadata.
    tensors : dict of str to TensorEntry
        The tensors by name.
    """

    metadata: dict[str, str]
    tensors: dict[str, TensorEntry]


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file.

    Raises
    ------
    InputError
        If the file is missing or unreadable, is not a safetensors file, is truncated, or its header
        contradicts itself or the size of the file.
    """
    raw, data_bytes = _read_bytes(path)
    members = _parse(path, raw)
    metadata = members.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise InputError(f"{path}: the header's __metadata__ must map text to text")
    tensors = {name: _entry(path, name, value) for name, value in members.items()}
    _check_extents(path, tensors, data_bytes)
    return Header(metadata, tensors)


def _read_bytes(path: Path) -> tuple[bytes, int]:
    """Return the header's bytes and the number of bytes that follow it."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; expected a .safetensors file")
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            prefix = file.read(8)
            if len(prefix) < 8:
                raise InputError(
                    f"{path}: not a safetensors file: it has {len(prefix)} bytes, and the "
                    "length of the header alone takes 8"
                )
            length = struct.unpack("<Q", prefix)[0]
            if length > MAX_HEADER_BYTES:
                raise InputError(
                    f"{path}: not a safetensors file: it claims a header of {length:,} bytes; "
                    f"the format allows {MAX_HEADER_BYTES:,}"
                )
            if length > size - 8:
                raise InputError(
                    f"{path}: truncated, or not a safetensors file: it claims a header of "
                    f"{length:,} bytes, and {size - 8:,} bytes follow"
                )
            return file.read(length), size - 8 - length
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def unique_keys(where: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """Make an ``object_pairs_hook`` for `json.loads` that refuses duplicate keys.

    Parameters
    ----------
    where : str
        What the JSON is, at the beginning of the message.
    """

    def hook(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for key, value in pairs:
            if key in members:
                raise InputError(f"{where}: {key!r} appears twice")
            members[key] = value
        return members

    return hook


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        members = json.loads(
            raw.decode("utf-8"), object_pairs_hook=unique_keys(f"{path}: the header")
        )
    except (ValueError, RecursionError):
        raise InputError(f"{path}: not a safetensors file: its header is not JSON") from None
    if not isinstance(members, dict):
        raise InputError(f"{path}: not a safetensors file: its header is not a JSON object")
    return members


def _natural(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _entry(path: Path, name: str, value: Any) -> TensorEntry:
    where = f"{path}: tensor {name!r}"
    try:
        dtype, shape, (begin, end) = value["dtype"], value["shape"], value["data_offsets"]
        well_formed = isinstance(dtype, str) and all(map(_natural, (*shape, begin, end)))
    except (TypeError, KeyError, ValueError):
        well_formed = False
    if not well_formed:
        raise InputError(f"{where}: malformed header entry; expected dtype, shape and data_offsets")
    if dtype not in DTYPE_BYTES:
        raise InputError(f"{where}: unknown type {dtype!r}; known: {', '.join(DTYPE_BYTES)}")
    if end - begin != math.prod(shape) * DTYPE_BYTES[dtype]:
        raise InputError(
            f"{where}: the header gives it {end - begin:,} bytes, which is not what "
            f"{dtype} {list(shape)} takes"
        )
    return TensorEntry(dtype, tuple(shape), begin, end)


def _check_extents(path: Path, tensors: dict[str, TensorEntry], data_bytes: int) -> None:
    position = 0
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            raise InputError(
                f"{path}: tensor {name!r}: begins at byte {entry.begin:,}; expected {position:,} "
                "(tensors follow each other without gap or overlap)"
            )
        position = entry.end
    if position > data_bytes:
        raise InputError(
            f"{path}: truncated: its tensors take {position:,} bytes, and {data_bytes:,} follow "
            "the header"
        )
    if position < data_bytes:
        raise InputError(
            f"{path}: {data_bytes - position:,} bytes follow the last tensor; expected none"
        )
