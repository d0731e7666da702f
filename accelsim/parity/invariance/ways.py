"""Ways to run the same prompts, which are to give the same bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from accelsim.parity.invariance.prompts import Padding, Row, Session
from accelsim.plugins.extras import need
from gemm_backends import list_backends, load_backend
from gemm_backends.cost.accelerators import MODEL

Run: TypeAlias = Callable[[Session, Sequence[Tensor]], dict[int, Tensor]]
"""Takes prompts and returns the logits of some of them, or of the first tokens of some."""

FEW = 2
"""Prompts that run token by token."""

GROWN = 4
"""Tokens that are added one at a time without a cache."""

SHORT = 8
"""Tokens of the prompt that slow backends get."""


@dataclass(frozen=True)
class Way:
    """A way to run prompts.

    Parameters
    ----------
    name : str
        For tables.
    level : int
        Which level promises that it gives the same bits.
    run : callable
        What runs them.
    threads : int, optional
        PyTorch's number of threads; as it is by default.
    backend : str, optional
        What multiplies integers; floats that are proved exact by default.
    device : str, optional
        Where; the CPU by default.
    processes : int
        Over how many processes K is cut in every linear layer, each with a device of its own.
    chosen : bool
        Whether the operands' device chooses the route, where no backend is named.
    """

    name: str
    level: int
    run: Run
    threads: int | None = None
    backend: str | None = None
    device: str = "cpu"
    processes: int = 1
    chosen: bool = False

    @property
    def integers_only(self) -> bool:
        """Whether floats have no such way."""
        return self.backend is not None or self.processes > 1 or self.chosen

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of `accelsim.invariant` that say what multiplies."""
        if self.backend is not None:
            return {"backend": self.backend}
        return {"exact": "auto" if self.chosen else "simulate"}


def alone(session: Session, prompts: Sequence[Tensor]) -> dict[int, Tensor]:
    """Run every prompt by itself."""
    found: dict[int, Tensor] = {}
    for index, ids in enumerate(prompts):
        found |= session.run([Row(index, ids)])
    return found


def _first(session: Session, prompts: Sequence[Tensor]) -> dict[int, Tensor]:
    return session.run([Row(0, prompts[0][:SHORT])])


def _cut(session: Session, prompts: Sequence[Tensor]) -> dict[int, Tensor]:
    shortest = min(map(len, prompts))
    return session.run([Row(index, ids[:shortest]) for index, ids in enumerate(prompts)])


def _batch(padding: Padding, extra: int = 0, filled: int = 0, shuffled: bool = False) -> Run:
    def run(session: Session, prompts: Sequence[Tensor]) -> dict[int, Tensor]:
        rows = [Row(index, ids) for index, ids in enumerate(prompts)]
        rows += [Row(None, prompts[i % len(prompts)].flip(0)) for i in range(filled - len(rows))]
        if shuffled:
            generator = torch.Generator().manual_seed(0)
            order = torch.randperm(len(rows), generator=generator, device="cpu")
            rows = [rows[i] for i in order.tolist()]
        return session.run(rows, padding, extra)

    return run


def _chunks(size: int) -> Run:
    def run(session: Session, prompts: Sequence[Tensor]) -> dict[int, Tensor]:
        found = {}
        for index, ids in enumerate(prompts[:FEW]):
            cache = _cache()
            parts = [
                session.run([Row(index, part)], cache=cache, past=number * size)[index]
                for number, part in enumerate(torch.split(ids, size))
            ]
            found[index] = torch.cat(parts)
        return found

    return run


def _grown(session: Session, prompts: Sequence[Tensor]) -> dict[int, Tensor]:
    """Add the last tokens one at a time, and run the whole prompt again without a cache."""
    found = {}
    for index, ids in enumerate(prompts[:FEW]):
        start = max(1, len(ids) - GROWN)
        parts = [session.run([Row(index, ids[:start])])[index]]
        ends = range(start + 1, len(ids) + 1)
        parts += [session.run([Row(index, ids[:end], last=1)])[index] for end in ends]
        found[index] = torch.cat(parts)
    return found


def _cache() -> Any:
    return need("transformers", "models").DynamicCache()


def _native(device: str) -> list[str]:
    """Return the backends that multiply digits of 8 bits by instructions of a device here."""
    found = []
    for name in list_backends():
        backend = load_backend(name)
        said = backend.status()
        kind = str(said.device).partition(":")[0]
        here = kind == device and said.available and said.execution == "native"
        if here and backend.operand_bits == (8, 8):
            found.append(name)
    return found


def ways(level: int, fill: int, chunks: Sequence[int] = (1, 7, 64)) -> list[Way]:
    """Return the ways of a level and those below, the reference, `alone`, not among them.

    Parameters
    ----------
    level : {1, 2, 3}
        The level.
    fill : int
        Rows of the batch that is filled up with others.
    chunks : sequence of int
        Tokens of a chunk.
    """
    found = [
        Way("batch, no padding", 1, _cut),
        Way("batch, padded left", 1, _batch("left")),
        Way("batch, padded right", 1, _batch("right")),
        Way("batch, padded left by 13 more", 1, _batch("left", extra=13)),
        Way("batch, shuffled", 1, _batch("left", shuffled=True)),
        Way(f"batch of {fill} with others", 1, _batch("right", filled=fill, shuffled=True)),
        *(Way(f"cache, chunks of {size}", 1, _chunks(size)) for size in chunks),
        Way("no cache, one more token at a time", 1, _grown),
        Way("1 thread", 1, alone, threads=1),
        Way("2 threads", 1, alone, threads=2),
        *(Way(name, 1, alone, backend=name) for name in _native("cpu")),
        Way(f"{MODEL}, {SHORT} tokens", 1, _first, backend=MODEL),
    ]
    if level > 1:
        found.append(Way("cuda", 2, alone, device="cuda"))
        if torch.cuda.is_available():
            found.append(
                Way("cuda, fused on Hopper GPUs", 2, alone, device="cuda", chosen=True),
            )
        found += [
            Way(f"{name}, {SHORT} tokens", 2, _first, backend=name, device="cuda")
            for name in _native("cuda")
        ]
    if level > 2:
        found.append(Way("K cut over 2 processes", 3, alone, processes=2))
        if torch.cuda.device_count() > 1:
            found.append(Way("K cut over 2 GPUs", 3, alone, device="cuda", processes=2))
    return found
