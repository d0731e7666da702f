"""Roughly how long a config takes and how much memory, from a sample of cropped operands."""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accelsim.config import RunConfig
from accelsim.errors import AccelsimError
from accelsim.measure.timing import StageTimer
from accelsim.runner.bench import Bench
from accelsim.runner.cases import Case
from accelsim.runner.pipeline import Pipeline
from workloads import Gemm

CROP = (4, 256, 256, 256)
"""The largest batch, n, d and h of a sample."""

REPEATS = 3
"""Of a sample; the first may compile, and the shortest counts."""

_FLOAT, _INTEGER, _WIDE = 4, 4, 8
"""Bytes of an entry of an operand, of its rounded form, and of a product."""


@dataclass(frozen=True)
class Estimate:
    """What a run would take.

    Parameters
    ----------
    seconds : float
        All records, warm-up and baselines included, checks of the operands not.
    memory_bytes : int
        The resident memory of the process at its largest record.
    """

    seconds: float
    memory_bytes: int


@dataclass(frozen=True)
class _Sample:
    """What a repeat of a cropped GEMM took."""

    seconds_per_mac: float
    ratio: float


def estimate(config: RunConfig, cases: Sequence[Case]) -> Estimate:
    """Time each backend and setting on a crop of a GEMM of middling size, and scale it up.

    Times are taken to grow with the multiplications, memory with the operands, the product and
    the unpack ratio of the sample. A backend that is unavailable takes nothing.

    Parameters
    ----------
    config : RunConfig
        What would run.
    cases : sequence of Case
        Its cases.
    """
    bench = Bench(config)
    settings: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        if bench.availability(case.choice).available:
            settings[repr((case.quantize, case.unpack, case.choice))].append(case)
    repeats = config.timing.warmup + config.timing.repeats
    seconds, most = 0.0, 0
    for same in settings.values():
        middle = sorted(same, key=lambda case: case.gemm.macs)[len(same) // 2]
        device = torch.device(bench.availability(middle.choice).device)
        sample = _sample(middle, config, device)
        if sample is not None:
            seconds += repeats * sum(c.gemm.macs for c in same) * sample.seconds_per_mac
            most = max(most, *(_bytes(case.gemm, sample.ratio) for case in same))
    here = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Estimate(seconds, here + most)


def _sample(case: Case, config: RunConfig, device: torch.device) -> _Sample | None:
    a, b = case.gemm.load()
    batch, n, d, h = CROP
    if case.gemm.batched:
        a, b = a[:batch], b[:batch]
    small = a[..., :n, :d].contiguous().to(device), b[..., :h, :d].contiguous().to(device)
    try:
        pipeline = Pipeline(replace(case, gemm=_cropped(case.gemm, small)), small, config)
        seconds = []
        for _ in range(REPEATS):
            timer = StageTimer(device)
            start = time.perf_counter()
            with timer.repeat():
                pipeline.repeat(timer)
            seconds.append(time.perf_counter() - start)
        counts = pipeline.counts()
    except AccelsimError:
        return None
    return _Sample(min(seconds) / max(1, counts["dense_macs"]), counts["ratio"] or 1.0)


def _cropped(gemm: Gemm, operands: tuple[Tensor, Tensor]) -> Gemm:
    a, b = operands
    batch = a.shape[0] if gemm.batched else gemm.batch
    n, d, h = a.shape[-2], a.shape[-1], b.shape[-2]
    return replace(gemm, batch=batch, n=n, d=d, h=h, load=lambda: operands)


def _bytes(gemm: Gemm, ratio: float) -> int:
    """Return what a record holds: floats, integers, digits, products, the oracle's product."""
    entries = gemm.batch * gemm.d * (gemm.n + gemm.h)
    product = gemm.batch * gemm.n * gemm.h
    return int(entries * (_FLOAT + 2 * _INTEGER + ratio) + product * (3 * _WIDE + ratio * _INTEGER))


def sizes(gemms: Iterable[Gemm]) -> tuple[Gemm, Gemm]:
    """Return the GEMMs with the fewest and with the most multiplications."""
    ordered = sorted(gemms, key=lambda gemm: gemm.macs)
    return ordered[0], ordered[-1]
