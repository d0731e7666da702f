"""Counts of cases whose product is none: operands are unpacked once for all backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from accelsim.config import RunConfig
from accelsim.records.record import Exponents
from accelsim.routes.general import Unpacked
from accelsim.runner.cases import Case
from accelsim.runner.findings import count_fields
from accelsim.runner.opening import general_route, request_of
from accelsim.types import Counts
from workloads import Gemm

LINES = 512
"""Rows of A and of B that are drawn of a GEMM whose operands are synthetic anyway."""

REASON = "nothing was multiplied, as asked: product is none"


class Tally:
    """Counts cases without multiplying.

    Of a GEMM with a sketch, as those of models have of which only the shapes are known, `LINES`
    rows of A and of B are drawn, and counts are scaled to the whole; GEMMs of one kind, such as the
    same layer again, share them.

    Parameters
    ----------
    config : RunConfig
        The settings that all cases share.
    load : callable
        Reads the operands of a GEMM onto a device.
    """

    def __init__(
        self, config: RunConfig, load: Callable[[Gemm, torch.device], tuple[Tensor, Tensor]]
    ) -> None:
        self._config, self._load = config, load
        self._operands: tuple[str, tuple[Tensor, Tensor]] | None = None
        self._unpacked: tuple[tuple[str, ...], Unpacked] | None = None
        self._known: dict[tuple[str, ...], dict[str, Any]] = {}

    def count(self, case: Case, device: torch.device) -> tuple[dict[str, Any], str]:
        """Return the counts of a case as fields of its record, and how they came about.

        Raises
        ------
        UnsupportedError
            If its strategy or its backend cannot be counted.
        """
        sketch = case.gemm.sketch
        if sketch is None:
            return _fields(self._counts(case, device, case.gemm.id)), REASON
        kind = f"{sketch.key} {case.gemm.batch}"
        key = (kind, repr((case.quantize, case.unpack)), case.choice.key, str(device))
        if key not in self._known:
            self._known[key] = _fields(self._counts(case, device, kind))
        a, b = (min(LINES, lines) for lines in (case.gemm.n, case.gemm.h))
        return self._known[key], f"{REASON}; counts are scaled from {a} rows of A and {b} of B"

    def _counts(self, case: Case, device: torch.device, kind: str) -> Counts:
        operands = self._drawn(case.gemm, device, kind)
        route = general_route(case, request_of(case, operands, self._config), self._config)
        key = (kind, repr((case.quantize, case.unpack)), str(device))
        if self._unpacked is None or self._unpacked[0] != key:
            self._unpacked = None
            self._unpacked = key, route.unpacked(*operands)
        gemm = case.gemm
        whole = None if gemm.sketch is None else (gemm.batch, gemm.n, gemm.d, gemm.h)
        return route.count(self._unpacked[1], whole)

    def _drawn(self, gemm: Gemm, device: torch.device, kind: str) -> tuple[Tensor, Tensor]:
        if gemm.sketch is None:
            return self._load(gemm, device)
        if self._operands is None or self._operands[0] != kind:
            a, b = gemm.sketch.draw(LINES)
            self._operands = kind, (a.to(device), b.to(device))
        return self._operands[1]

    def close(self) -> None:
        """Release the operands."""
        self._operands = self._unpacked = None


def _fields(counts: Counts) -> dict[str, Any]:
    return {
        **count_fields(counts),
        "prepared": list(counts.prepared),
        "scale_exponent": Exponents(a=counts.scale_exponent.a, b=counts.scale_exponent.b),
    }
