"""Roughly how long a config takes whose products are counted and not computed."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor

from accelsim.config import RunConfig
from accelsim.errors import AccelsimError
from accelsim.runner.cases import Setting, case_of
from accelsim.runner.tally import CaseCounter, drawn_rows, kind_of
from accelsim.settings import Unpacking
from accelsim.types import PerOperand
from workloads import Gemm

SAMPLE_ROWS = 512
"""Rows of each operand of a sample; a run draws more, and what they take grows with them."""

REPEATS = 2
"""Repeats per sample. The first may include compilation, so the fastest is used."""

RECORD_S = 0.002
"""Seconds that a record takes to write and show, about; many GEMMs share their counts."""


@dataclass(frozen=True)
class CountSample:
    """The measured cost of a setting.

    Parameters
    ----------
    prepare_per_entry : float
        Seconds to draw, round and unpack, over the entries of both operands.
    count : float
        Seconds to count what is unpacked, for one GEMM on one backend.
    ratio : float
        The unpack ratio.
    """

    prepare_per_entry: float
    count: float
    ratio: float


def mean(samples: Sequence[CountSample]) -> CountSample:
    """Return the mean of at least one sample."""
    number = len(samples)
    return CountSample(
        sum(sample.prepare_per_entry for sample in samples) / number,
        sum(sample.count for sample in samples) / number,
        sum(sample.ratio for sample in samples) / number,
    )


class CountEstimate:
    """Estimates what it takes to count the GEMMs of a config.

    Parameters
    ----------
    config : RunConfig
        What would run.
    gemms : sequence of Gemm
        All of its GEMMs.
    """

    def __init__(self, config: RunConfig, gemms: Sequence[Gemm]) -> None:
        self._config, self._gemms = config, gemms
        self._gemm = _typical(gemms)

    def sample(self, setting: Setting, device: torch.device) -> CountSample:
        """Count fewer rows of a typical GEMM, and see what that takes.

        Parameters
        ----------
        setting : Setting
            All but the GEMM.
        device : torch.device
            Where it is rounded and unpacked.
        """
        rows = PerOperand.both(SAMPLE_ROWS)
        case = case_of(self._gemm, setting, self._config)
        lines = drawn_rows(case.gemm, case.unpack)
        rows = PerOperand(min(rows.a, lines.a), min(rows.b, lines.b))
        case = replace(case, gemm=_fewer_rows(case.gemm, rows))
        whole = []
        try:
            for _ in range(REPEATS):
                counter = CaseCounter(self._config, _load, SAMPLE_ROWS)
                whole.append(_seconds(partial(counter.count, case, device)))
            counter.forget_counts()
            count = _seconds(partial(counter.count, case, device))
            fields, _ = counter.count(case, device)
        except AccelsimError:
            return CountSample(0.0, 0.0, 0.0)  # as unsupported, which takes no time
        prepare = max(0.0, min(whole) - count) / max(1, _entries(case.gemm, rows))
        return CountSample(prepare, count, fields["ratio"] or 1.0)

    def seconds(self, same: Sequence[Setting], sample: CountSample, shared: set[str]) -> float:
        """Return what settings of one strategy on one backend take, over all GEMMs.

        Parameters
        ----------
        same : sequence of Setting
            The settings.
        sample : CountSample
            The mean of what samples of them take.
        shared : set
            What other settings have unpacked; what these unpack is added.
        """
        total = RECORD_S * len(same) * len(self._gemms)
        for setting in same:
            kinds = self._kinds(setting.unpack)
            total += sample.count * len(kinds)
            for kind, entries in kinds.items():
                work = repr((kind, setting.quantize, setting.unpack))
                if work not in shared:
                    shared.add(work)
                    total += sample.prepare_per_entry * entries
        return total

    def largest(self, same: Sequence[Setting]) -> int:
        """Return the entries of the largest operands that settings of one strategy draw."""
        return max(max(self._kinds(setting.unpack).values()) for setting in same)

    def _kinds(self, unpacking: Unpacking) -> Mapping[str, int]:
        """Return the kinds of GEMMs that share their counts, with the entries that are unpacked."""
        found = {}
        for gemm in self._gemms:
            rows = drawn_rows(gemm, unpacking)
            found[kind_of(gemm, rows)] = _entries(gemm, rows)
        return found


def _typical(gemms: Sequence[Gemm]) -> Gemm:
    """Return the GEMM up to whose size half of all entries are."""
    every = [(_entries(gemm, PerOperand(gemm.n, gemm.h)), gemm) for gemm in gemms]
    every.sort(key=lambda pair: pair[0])
    sums = [*accumulate(entries for entries, _ in every)]
    return every[bisect_left(sums, sums[-1] / 2)][1]


def _entries(gemm: Gemm, rows: PerOperand[int]) -> int:
    """Return the entries of both operands: of sketches one matrix of the batch is drawn."""
    return (rows.a + rows.b) * gemm.d * (1 if gemm.sketch else gemm.batch)


def _fewer_rows(gemm: Gemm, rows: PerOperand[int]) -> Gemm:
    """Return a GEMM whose operands, if they are given, have fewer rows."""
    if gemm.sketch is not None:
        return gemm
    a, b = gemm.load()
    small = a[..., : rows.a, :].contiguous(), b[..., : rows.b, :].contiguous()
    return replace(gemm, n=rows.a, h=rows.b, load=lambda: small)


def _load(gemm: Gemm, device: torch.device) -> tuple[Tensor, Tensor]:
    a, b = gemm.load()
    return a.to(device), b.to(device)


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
