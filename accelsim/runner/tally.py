"""Counts of cases whose product is none: operands are unpacked once for all backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from accelsim.arithmetic.rounding import Quantized
from accelsim.config import RunConfig
from accelsim.records.record import Exponents
from accelsim.routes.general import Unpacked
from accelsim.routes.sketched import sampled_rows
from accelsim.runner.cases import Case
from accelsim.runner.findings import count_fields
from accelsim.runner.opening import general_route, request_of
from accelsim.settings import Unpacking
from accelsim.types import Counts, PerOperand
from workloads import Gemm

NONE = PerOperand.both(0)

REASON = "nothing was multiplied, as asked: product is none"


class CaseCounter:
    """Counts cases without multiplying.

    Of a GEMM with a sketch, as those of models have of which only the shapes are known, one matrix
    of the batch is drawn, of large ones a sample of the rows (`sampled_rows`), and counts are
    scaled to the whole; GEMMs of one kind, such as the same layer again, share them.

    Parameters
    ----------
    config : RunConfig
        The settings that all cases share.
    load : callable
        Reads the operands of a GEMM onto a device.
    most : int, optional
        Draw at most so many rows of sketches.
    """

    def __init__(
        self,
        config: RunConfig,
        load: Callable[[Gemm, torch.device], tuple[Tensor, Tensor]],
        most: int | None = None,
    ) -> None:
        self._config, self._load, self._most = config, load, most
        self._operands: tuple[str, tuple[Tensor, Tensor]] | None = None
        self._rounded: tuple[tuple[str, ...], PerOperand[Quantized]] | None = None
        self._unpacked: tuple[tuple[str, ...], Unpacked] | None = None
        self._known: dict[tuple[str, ...], dict[str, Any]] = {}

    def count(self, case: Case, device: torch.device) -> tuple[dict[str, Any], str]:
        """Return the counts of a case as fields of its record, and how they came about.

        Raises
        ------
        UnsupportedError
            If its strategy or its backend cannot be counted.
        """
        gemm = case.gemm
        if gemm.sketch is None:
            return _fields(self._counts(case, device, gemm.id), "counted"), REASON
        rows = drawn_rows(gemm, case.unpack)
        if self._most is not None:
            rows = PerOperand(min(rows.a, self._most), min(rows.b, self._most))
        kind = kind_of(gemm, rows)
        key = (kind, repr((case.quantize, case.unpack)), case.choice.key, str(device))
        sample = _sample(gemm, rows)
        if key not in self._known:
            counts = self._counts(case, device, kind, rows)
            self._known[key] = _fields(counts, "sampled" if sample else "drawn")
        return self._known[key], f"{REASON}; operands are drawn from a profile{sample}"

    def _counts(
        self, case: Case, device: torch.device, kind: str, rows: PerOperand[int] = NONE
    ) -> Counts:
        operands = self._drawn(case.gemm, device, kind, rows)
        route = general_route(case, request_of(case, operands, self._config), self._config)
        key = (kind, repr(case.quantize), str(device))
        if self._rounded is None or self._rounded[0] != key:
            self._rounded = self._unpacked = None
            self._rounded = key, route.rounded(*operands)
        unpacked = (*key, repr(case.unpack))
        if self._unpacked is None or self._unpacked[0] != unpacked:
            self._unpacked = None
            self._unpacked = unpacked, route.unpacked(self._rounded[1])
        gemm = case.gemm
        whole = None if gemm.sketch is None else (gemm.batch, gemm.n, gemm.d, gemm.h)
        return route.count(self._unpacked[1], whole)

    def _drawn(
        self, gemm: Gemm, device: torch.device, kind: str, rows: PerOperand[int]
    ) -> tuple[Tensor, Tensor]:
        if gemm.sketch is None:
            return self._load(gemm, device)
        if self._operands is None or self._operands[0] != kind:
            self._operands = self._rounded = None
            a, b = gemm.sketch.draw(rows)
            self._operands = kind, (a.to(device), b.to(device))
        return self._operands[1]

    def forget_counts(self) -> None:
        """Count what was counted once more; operands that are unpacked stay so."""
        self._known.clear()

    def close(self) -> None:
        """Release the operands."""
        self._operands = self._rounded = self._unpacked = None


def drawn_rows(gemm: Gemm, unpacking: Unpacking) -> PerOperand[int]:
    """Return how many rows of each operand are unpacked.

    Parameters
    ----------
    gemm : Gemm
        What is counted.
    unpacking : Unpacking
        How it is unpacked.
    """
    every = PerOperand(gemm.n, gemm.h)
    if gemm.sketch is None:
        return every
    drawn = sampled_rows(unpacking.strategy.name, unpacking.block, gemm.d) or every
    return PerOperand(min(every.a, drawn.a), min(every.b, drawn.b))


def kind_of(gemm: Gemm, rows: PerOperand[int]) -> str:
    """Return what GEMMs that share their counts have in common.

    Parameters
    ----------
    gemm : Gemm
        What is counted.
    rows : PerOperand of int
        The rows that are unpacked.
    """
    if gemm.sketch is None:
        return gemm.id
    return f"{gemm.sketch.key} {gemm.batch} {rows.a} {rows.b}"


def _sample(gemm: Gemm, rows: PerOperand[int]) -> str:
    """Say of how much of a GEMM the counts are, if not of the whole."""
    parts = [f"1 of {gemm.batch} matrices"] if gemm.batch > 1 else []
    parts += [
        f"{drawn} of {lines} rows of {name}"
        for name, drawn, lines in (("A", rows.a, gemm.n), ("B", rows.b, gemm.h))
        if lines > drawn
    ]
    return f", and counts are scaled from {', '.join(parts)}" if parts else ""


def _fields(counts: Counts, basis: str) -> dict[str, Any]:
    return {
        **count_fields(counts),
        "ratio_basis": basis,
        "prepared": list(counts.prepared),
        "scale_exponent": Exponents(a=counts.scale_exponent.a, b=counts.scale_exponent.b),
    }
