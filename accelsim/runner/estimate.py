"""Roughly how long a config takes and how much memory, from a sample of cropped operands."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accelsim.config import RunConfig
from accelsim.errors import AccelsimError
from accelsim.runner.bench import Bench
from accelsim.runner.cases import Case
from accelsim.runner.pipeline import Pipeline
from accelsim.timing import StageTimer
from workloads import Gemm

CROP = (256, 256, 256)
"""The largest n, d and h of a sample."""

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
    """What one repeat of a cropped GEMM took."""

    seconds_per_mac: float
    ratio: float


def estimate(config: RunConfig, cases: Sequence[Case]) -> Estimate:
    """Run one repeat of each backend and setting on a crop of the smallest GEMM, and scale it up.

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
    runnable = [case for case in cases if bench.availability(case.choice).available]
    samples: dict[str, _Sample | None] = {}
    seconds, most = 0.0, 0
    for case in sorted(runnable, key=lambda case: case.gemm.macs):
        key = repr((case.quantize, case.unpack, case.choice))
        if key not in samples:
            device = torch.device(bench.availability(case.choice).device)
            samples[key] = _sample(case, config, device)
        sample = samples[key]
        if sample is not None:
            repeats = config.timing.warmup + config.timing.repeats
            seconds += repeats * case.gemm.macs * sample.seconds_per_mac
            most = max(most, _bytes(case.gemm, sample.ratio))
    here = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Estimate(seconds, here + most)


def _sample(case: Case, config: RunConfig, device: torch.device) -> _Sample | None:
    a, b = case.gemm.load()
    n, d, h = CROP
    small = a[..., :n, :d].contiguous().to(device), b[..., :h, :d].contiguous().to(device)
    try:
        pipeline = Pipeline(replace(case, gemm=_cropped(case.gemm, small)), small, config)
        for _ in range(2):  # the first may compile
            timer = StageTimer(device)
            start = time.perf_counter()
            with timer.repeat():
                pipeline.repeat(timer)
            seconds = time.perf_counter() - start
        counts = pipeline.counts()
    except AccelsimError:
        return None
    return _Sample(seconds / max(1, counts["dense_macs"]), counts["ratio"] or 1.0)


def _cropped(gemm: Gemm, operands: tuple[Tensor, Tensor]) -> Gemm:
    a, b = operands
    return replace(gemm, n=a.shape[-2], d=a.shape[-1], h=b.shape[-2], load=lambda: operands)


def _bytes(gemm: Gemm, ratio: float) -> int:
    """Return what a record holds: floats, integers, digits, products, the oracle's product."""
    entries = gemm.batch * gemm.d * (gemm.n + gemm.h)
    product = gemm.batch * gemm.n * gemm.h
    return int(entries * (_FLOAT + 2 * _INTEGER + ratio) + product * (3 * _WIDE + ratio * _INTEGER))


def sizes(gemms: Iterable[Gemm]) -> tuple[Gemm, Gemm]:
    """Return the GEMMs with the fewest and with the most multiplications."""
    ordered = sorted(gemms, key=lambda gemm: gemm.macs)
    return ordered[0], ordered[-1]
