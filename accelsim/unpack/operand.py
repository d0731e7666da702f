"""An operand on its way into digits: what strategies ask of it, on any device."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from accelsim.arithmetic.digits import DigitSystem
from accelsim.arithmetic.rounding import Quantized
from accelsim.unpack.kernels import cpu, generic


@dataclass(frozen=True)
class Survey:
    """How many digits the lines of an operand need.

    Parameters
    ----------
    rows, columns : Tensor
        int64 ``[batch, n]`` and ``[batch, d]``: digits of the entry that needs most, at least 1.
    out_of_bound : tuple of int
        Entries of each matrix of the batch that do not fit one digit.
    """

    rows: Tensor
    columns: Tensor
    out_of_bound: tuple[int, ...]

    @property
    def max_digits(self) -> int:
        """Digits that the largest entry needs."""
        return int(self.rows.max()) if self.rows.numel() else 1


@dataclass(frozen=True)
class IntegerOperand:
    """An operand to unpack; what depends on it alone is worked out once and kept.

    Parameters
    ----------
    values : Tensor or Quantized
        Integers ``[n, d]`` or ``[batch, n, d]``, magnitudes below 2^31. Those of a `Quantized` are
        rounded as the digits are written, so that they need no memory of their own.
    system : DigitSystem
        The digits to write it in.
    prepared : bool
        Whether the digits of whole matrices are kept, for an operand that meets many others, as
        weights do.
    """

    values: Tensor | Quantized
    system: DigitSystem
    prepared: bool = False

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """``(batch, n, d)``."""
        shape = (self.values.operand if isinstance(self.values, Quantized) else self.values).shape
        return shape if len(shape) == 3 else (1, *shape)

    @cached_property
    def heads(self) -> Tensor:
        """The integers as ``[batch, n, d]``, int32."""
        values = self.values.values if isinstance(self.values, Quantized) else self.values
        return values.to(torch.int32).reshape(self.shape)

    @cached_property
    def survey(self) -> Survey:
        """Digits that rows and columns need, found in one pass over the entries."""
        batch, n, d = self.shape
        if self._on_cpu:
            found = [cpu.extremes(source, self.system) for source in self._sources]
        else:
            found = [generic.extremes(head, self.system) for head in self.heads]
        rows, columns, out_of_bound = zip(*found, strict=True) if found else ((), (), ())
        return Survey(
            self._joined(rows, (batch, n)),
            self._joined(columns, (batch, d)),
            tuple(out_of_bound),
        )

    @cached_property
    def counts(self) -> Tensor:
        """Digits that each entry needs, ``[batch, n, d]`` uint8."""
        if not self._on_cpu:
            return self.system.count(self.heads).to(torch.uint8)
        levels = self.survey.max_digits
        counts = [cpu.counts(source, self.system, levels) for source in self._sources]
        return self._joined(counts, self.shape)

    def digits(
        self, head: int, row_levels: Tensor, columns: Tensor | None, skip: Tensor, last: Tensor
    ) -> Tensor:
        """Write one matrix of the batch in digits, one for each level of its rows.

        Parameters
        ----------
        head : int
            The matrix of the batch.
        row_levels : Tensor
            int64 ``[n]``, at least 1: how many lines each row is unpacked into.
        columns : Tensor or None
            int64 ``[c]``, the columns to write; None for all in order.
        skip : Tensor
            int64 ``[c]``: the level of each column that is written, from 0: how many of the digits
            beyond those of its row an entry has written in levels before.
        last : Tensor
            bool ``[c]``: whether this is the column's last level, which takes all that is left.

        Returns
        -------
        Tensor
            ``[sum(row_levels), c]`` digits, level by level. An entry's digits go down the levels of
            its row first, then along those of its column.
        """
        if not self.prepared or columns is not None:
            return self._write(head, row_levels, columns, skip, last)
        key = b"".join(tensor.cpu().numpy().tobytes() for tensor in (row_levels, skip, last))
        if self._kept.get(head, (b"",))[0] != key:
            self._kept[head] = key, self._write(head, row_levels, None, skip, last)
        return self._kept[head][1]

    def outside(self, head: int) -> tuple[Tensor, Tensor, Tensor]:
        """Find the entries of one matrix of the batch that do not fit one digit.

        Returns
        -------
        tuple of Tensor
            int64: their rows, their columns and their values, row by row.
        """
        if not self.survey.out_of_bound[head]:
            none = self.survey.rows.new_empty(0)
            return none, none, none
        if self._on_cpu:
            return cpu.outside(self._sources[head], self.system)
        return generic.outside(self.heads[head], self.system)

    @cached_property
    def notes(self) -> dict[Hashable, Any]:
        """What a strategy has worked out about this operand alone, by a key of its own."""
        return {}

    def kept(self, head: int) -> Tensor | None:
        """Return the digits that a prepared operand keeps of one matrix of the batch, if any."""
        return self._kept[head][1] if head in self._kept else None

    @cached_property
    def _kept(self) -> dict[int, tuple[bytes, Tensor]]:
        return {}

    def _write(
        self, head: int, row_levels: Tensor, columns: Tensor | None, skip: Tensor, last: Tensor
    ) -> Tensor:
        if self._on_cpu:
            source = self._sources[head]
            return cpu.digits(source, self.system, row_levels, columns, skip, last)
        return generic.digits(self.heads[head], self.system, row_levels, columns, skip, last)

    @property
    def _on_cpu(self) -> bool:
        tensor = self.values.operand if isinstance(self.values, Quantized) else self.values
        return tensor.device.type == "cpu"

    @cached_property
    def _sources(self) -> list[cpu.Source]:
        """The matrices of the batch as the compiled kernels read them."""
        batch, n, _ = self.shape
        if not isinstance(self.values, Quantized):
            return [cpu.Source(head.numpy(), None) for head in self.heads.contiguous()]
        operands = self.values.operand.reshape(self.shape).numpy()
        scales = self.values.scale.numpy()
        scales = np.ascontiguousarray(
            np.broadcast_to(scales if scales.ndim == 0 else scales.reshape(batch, n), (batch, n))
        )
        return [cpu.Source(*pair) for pair in zip(operands, scales, strict=True)]

    def _joined(self, parts: list[Tensor] | tuple[Tensor, ...], shape: tuple[int, ...]) -> Tensor:
        if len(parts) == 1:
            return parts[0].reshape(shape)
        return torch.stack(list(parts)) if parts else torch.ones(shape, dtype=torch.int64)
