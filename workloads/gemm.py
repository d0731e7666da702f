"""One GEMM of a workload: its shape, where it comes from, and how to read its operands."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from accelsim.arithmetic.rounding import check_type
from accelsim.errors import DataError, InputError
from accelsim.types import PerOperand

OPS = ("linear", "qk", "pv")
"""The role of a GEMM in its model: a linear layer, queries by keys, or probabilities by values."""

PHASES = ("forward", "grad_input", "grad_weight")
"""The pass a GEMM belongs to."""

Operands = tuple[Tensor, Tensor]


class Sketched(Protocol):
    """A GEMM of which fewer lines can be drawn."""

    @property
    def key(self) -> str:
        """What GEMMs of one kind share: shapes and distributions of entries."""

    def draw(self, lines: PerOperand[int]) -> Operands:
        """Draw at most `lines` rows of A and of B, all columns, of one matrix of the batch."""


@dataclass(frozen=True)
class Gemm:
    """The product ``C = A @ B.T``, with operands that are read only when they are needed.

    Parameters
    ----------
    workload : str
        The workload it belongs to, such as the name of a bundle's file without its suffix.
    name : str
        Its name, unique in the workload.
    op : str
        One of `OPS`.
    layer : str
        The layer of the model, as free text; may be empty.
    phase : str
        One of `PHASES`.
    batch : int
        Leading dimension of the operands (attention heads); 1 if they have none.
    n, d, h : int
        A is ``[n, d]`` and B is ``[h, d]``, or ``[batch, n, d]`` and ``[batch, h, d]``.
    load : callable
        Reads both operands afresh: float32, float16 or bfloat16 tensors on the CPU.
    batched : bool
        Whether the operands have the batch dimension.
    tensors : PerOperand of str, optional
        What messages call the operands; ``NAME/a`` and ``NAME/b`` by default.
    file : Path, optional
        Where the operands are stored, if they are.
    sketch : Sketched, optional
        Draws a smaller GEMM of the same kind; for operands that are drawn, too.
    """

    workload: str
    name: str
    op: str
    layer: str
    phase: str
    batch: int
    n: int
    d: int
    h: int
    load: Callable[[], Operands] = field(repr=False, compare=False)
    batched: bool = False
    tensors: PerOperand[str] | None = field(default=None, repr=False)
    file: Path | None = field(default=None, repr=False, compare=False)
    sketch: Sketched | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.batched and self.batch != 1:
            raise ValueError(f"GEMM {self.name!r} has batch {self.batch} but is not batched")

    @property
    def id(self) -> str:
        """The name that is unique in a run: ``WORKLOAD/NAME``."""
        return f"{self.workload}/{self.name}"

    @property
    def tensor_names(self) -> PerOperand[str]:
        """The names of A and B in messages."""
        return self.tensors or PerOperand(f"{self.name}/a", f"{self.name}/b")

    def where(self, operand: str) -> str:
        """Return the name of A or B with its file (or workload), as messages begin.

        Parameters
        ----------
        operand : str
            ``a`` or ``b``.

        Returns
        -------
        str
            Such as ``mine.safetensors: tensor 'proj/a'``.
        """
        return f"{self.file or self.workload}: tensor {getattr(self.tensor_names, operand)!r}"

    @property
    def shapes(self) -> PerOperand[tuple[int, ...]]:
        """The shapes of A and B."""
        lead = (self.batch,) if self.batched else ()
        return PerOperand((*lead, self.n, self.d), (*lead, self.h, self.d))

    @property
    def macs(self) -> int:
        """Multiplications of the dense product."""
        return self.batch * self.n * self.d * self.h

    def check_finite(self) -> str:
        """Read both operands and see that they hold no NaN or infinity.

        Returns
        -------
        str
            SHA-256 (hexadecimal) of the types, shapes and bytes of A and B.

        Raises
        ------
        DataError
            If one does; the message has the tensor's name and the first index.
        """
        digest = hashlib.sha256()
        for operand, tensor in zip("ab", self.load(), strict=True):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
            finite = torch.isfinite(tensor)
            if not bool(finite.all()):
                index = [int(i) for i in (~finite).nonzero()[0]]
                raise DataError(
                    f"{self.where(operand)}: found {tensor[tuple(index)].item()} at {index}; "
                    "all entries must be finite"
                )
        return digest.hexdigest()


def checked(gemm: Gemm) -> Gemm:
    """Return a GEMM whose operands are seen to be what it declares, each time they are loaded.

    Parameters
    ----------
    gemm : Gemm
        Of any source; what its `load` raises or returns wrongly becomes a `DataError` that names
        the tensor.
    """
    return replace(gemm, load=partial(_load, gemm))


def _load(gemm: Gemm) -> Operands:
    try:
        a, b = gemm.load()
    except InputError:
        raise
    except Exception as error:  # a plug-in may raise anything
        names = " and ".join(repr(x) for x in (gemm.tensor_names.a, gemm.tensor_names.b))
        where = f"{gemm.file or gemm.workload}: tensors {names}"
        raise DataError(f"{where}: cannot be loaded: {type(error).__name__}: {error}") from error
    for side, x, shape in zip("ab", (a, b), (gemm.shapes.a, gemm.shapes.b), strict=True):
        where = gemm.where(side)
        if not isinstance(x, Tensor):
            raise DataError(f"{where}: found {type(x).__name__}; expected a tensor of PyTorch")
        check_type(x, where)
        if tuple(x.shape) != shape:
            raise DataError(f"{where}: found shape {list(x.shape)}; expected {list(shape)}")
    return a, b


LISTED = 40
"""Names that a message lists."""


def select(gemms: Sequence[Gemm], globs: Sequence[str], where: object) -> list[Gemm]:
    """Return the GEMMs whose name matches any of the globs, in their order.

    Parameters
    ----------
    gemms : sequence of Gemm
        What to choose from.
    globs : sequence of str
        Such as ``*.qk``; upper and lower case differ.
    where : object
        Where the GEMMs come from, at the beginning of the message.

    Raises
    ------
    InputError
        If a glob matches nothing; the message lists the names.
    """
    for glob in globs:
        if not any(fnmatchcase(gemm.name, glob) for gemm in gemms):
            names = listed(gemm.name for gemm in gemms)
            raise InputError(f"{where}: no GEMM matches {glob!r}; it has: {names}")
    return [gemm for gemm in gemms if any(fnmatchcase(gemm.name, glob) for glob in globs)]


def listed(names: Iterable[str]) -> str:
    """List names for a message: if they are many, those that differ in a number as one glob."""
    several = list(names)
    if len(several) > LISTED:
        several = list(dict.fromkeys(re.sub(r"\b\d+\b", "*", name) for name in several))
    more = f" and {len(several) - LISTED} more" if len(several) > LISTED else ""
    return ", ".join(several[:LISTED]) + more
