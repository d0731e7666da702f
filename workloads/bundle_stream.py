"""Write a bundle operand by operand: the data as it comes, the header at the end."""

from __future__ import annotations

import json
import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from accelsim.errors import InputError
from workloads.bundle import METADATA_KEY, SCHEMA
from workloads.header import MAX_HEADER_BYTES

DTYPE_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}

_CHUNK = 1 << 24


class Described(NamedTuple):
    """The description of one GEMM in a bundle."""

    name: str
    op: str
    layer: str
    phase: str


class BundleStream:
    """A bundle that is being written; as a context manager it leaves nothing behind on an error.

    The operands go straight to the file, so a bundle may be larger than memory. The file gets its
    name when it is complete; an existing one is replaced then.

    Parameters
    ----------
    path : Path
        The file to write; its folder exists.
    room : int
        Bytes to keep free for the header. If it needs more, or if that leaves more than a hundredth
        of the file empty, the data are moved within the file at the end.
    """

    def __init__(self, path: Path, room: int = 1 << 20) -> None:
        self.path = path
        self._part = path.with_name(path.name + ".part")
        self._room = room + -room % 8
        self._pairs: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._bytes = 0
        self._complete = False

    @property
    def written(self) -> int:
        """Number of bytes of operands that were written."""
        return self._bytes

    def __enter__(self) -> Self:
        try:
            self._file = self._part.open("w+b", buffering=0)
            self._write(
                memoryview(bytearray(8 + self._room))
            )  # so that the header has its place on a full disk
        except OSError as error:
            raise self._cannot(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)

    def add(self, a: Tensor, b: Tensor, name: str) -> None:
        """Append the operands of one GEMM.

        Parameters
        ----------
        a, b : Tensor
            float32, float16 or bfloat16, on any device, any strides.
        name : str
            What messages call the GEMM.

        Raises
        ------
        InputError
            If an operand has another type, or the file cannot be written.
        """
        pair = self._append(a, f"{name}/a"), self._append(b, f"{name}/b")
        self._pairs.append(pair)

    def finish(self, gemms: Sequence[Described], source: Mapping[str, Any]) -> None:
        """Write the header, and give the file its name.

        Parameters
        ----------
        gemms : sequence of Described
            One for each pair of operands, in the order they were added; their names are unique.
        source : mapping
            Where the operands come from, as JSON.

        Raises
        ------
        InputError
            If a name appears twice, or the file cannot be written; and if the header would be
            larger than the format allows: the bundle has then as many GEMMs as fit.
        """
        twice = [name for name, count in Counter(gemm.name for gemm in gemms).items() if count > 1]
        if twice:
            raise InputError(f"{self.path}: GEMM {twice[0]!r} appears twice; expected unique")
        kept, header = self._fitting(gemms, source)
        length = len(header) + -len(header) % 8
        self._bytes = self._pairs[kept - 1][1]["data_offsets"][1] if kept else 0
        try:
            if length > self._room or self._room - length > self._bytes // 100:
                self._move(length)
            self._file.truncate(8 + self._room + self._bytes)
            self._file.seek(0)
            whole = struct.pack("<Q", self._room) + header.ljust(self._room).encode()
            self._write(memoryview(whole))
            self._file.close()
            self._part.replace(self.path)
        except OSError as error:
            raise self._cannot(error) from error
        if kept < len(gemms):
            raise InputError(
                f"{self.path}: its header would take more than the {MAX_HEADER_BYTES:,} bytes that "
                f"the format allows; it has the first {kept} of {len(gemms)} GEMMs: capture fewer"
            )

    def _fitting(self, gemms: Sequence[Described], source: Mapping[str, Any]) -> tuple[int, str]:
        """Return how many of the GEMMs the largest header allowed can hold, and their header."""

        def header(count: int) -> str:
            members: dict[str, Any] = {
                "__metadata__": {METADATA_KEY: metadata(gemms[:count], source)}
            }
            for gemm, (a, b) in zip(gemms[:count], self._pairs, strict=False):
                members |= {f"{gemm.name}/a": a, f"{gemm.name}/b": b}
            return json.dumps(members, separators=(",", ":"))

        everything, limit = header(len(gemms)), MAX_HEADER_BYTES // 8 * 8
        if len(everything) <= limit:
            return len(gemms), everything
        kept = bisect_right(range(1, len(gemms)), limit, key=lambda count: len(header(count)))
        return kept, header(kept)

    def _append(self, tensor: Tensor, name: str) -> dict[str, Any]:
        if tensor.dtype not in DTYPE_NAMES:
            raise InputError(
                f"{self.path}: tensor {name!r}: found {tensor.dtype}; operands are float32, "
                "float16, bfloat16"
            )
        begin = self._bytes
        plain = tensor.detach().cpu().contiguous()
        try:
            self._write(plain.flatten().view(torch.uint8).numpy().data)
        except OSError as error:
            raise self._cannot(error) from error
        self._bytes += plain.nbytes
        return {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, self._bytes],
        }

    def _write(self, data: memoryview) -> None:
        """Write all of some bytes; without a buffer, whose rest would fail once more."""
        while data:
            data = data[self._file.write(data) :]

    def _move(self, room: int) -> None:
        """Move the data so that they follow a header of `room` bytes."""
        starts = range(0, self._bytes, _CHUNK)
        for start in reversed(starts) if room > self._room else starts:
            self._file.seek(8 + self._room + start)
            chunk = self._file.read(min(_CHUNK, self._bytes - start))
            self._file.seek(8 + room + start)
            self._write(memoryview(chunk))
        self._file.truncate(8 + room + self._bytes)
        self._room = room

    def _cannot(self, error: OSError) -> InputError:
        return InputError(f"{self.path}: cannot be written: {error.strerror}")


def metadata(gemms: Sequence[Described], source: Mapping[str, Any]) -> str:
    """Return the JSON that a bundle has under the metadata key `accelsim`."""
    described = [gemm._asdict() for gemm in gemms]
    return json.dumps({"schema": SCHEMA, "source": dict(source), "gemms": described})
