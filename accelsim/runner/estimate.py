"""Roughly how long a config takes and how much memory, from a sample of cropped operands."""

from __future__ import annotations

import resource
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import gcd
from typing import TypeVar

import torch
from torch import Tensor

from accelsim.config import RunConfig
from accelsim.errors import AccelsimError
from accelsim.measure.timing import StageTimer
from accelsim.runner.bench import CaseBench
from accelsim.runner.cases import Case, Setting, case_of
from accelsim.runner.estimate_counts import CountEstimate, mean
from accelsim.runner.trial import Trial
from workloads import Gemm

CROP = (4, 256, 256, 256)
"""The largest batch, n, d and h of a sample."""

REPEATS = 3
"""Repeats per sample. The first may include compilation, so the fastest is used."""

BUDGET_S = 4.0
"""Time limit of sampling, in seconds; other settings are assumed to cost as much as similar
ones."""

_FLOAT, _INTEGER, _WIDE = 4, 4, 8
"""Bytes of an entry of an operand, of its rounded form, and of a product."""


S = TypeVar("S")


@dataclass(frozen=True)
class RunEstimate:
    """The estimated cost of a run.

    Parameters
    ----------
    seconds : float
        All records, warm-up and baselines included, checks of the operands not.
    memory_bytes : int
        The resident memory of the process at its largest record.
    sampled, settings : int
        How many of the combinations of rounding, unpacking and available backend were sampled.
    """

    seconds: float
    memory_bytes: int
    sampled: int
    settings: int


@dataclass(frozen=True)
class _Sample:
    """The measured cost of a repeat of a cropped GEMM."""

    seconds_per_mac: float
    ratio: float


def estimate(config: RunConfig, gemms: Sequence[Gemm], settings: Sequence[Setting]) -> RunEstimate:
    """Time backends and settings on a crop of a typical GEMM, and scale the times up.

    Times are taken to grow with the multiplications, memory with the operands, the product and the
    unpack ratio of the sample. Where nothing is multiplied, times grow with the entries that are
    unpacked, which GEMMs of one kind and backends share. A backend that is unavailable takes
    nothing. For a large sweep as many settings are sampled as `BUDGET_S` allows, each strategy on
    each backend first; the others count as the mean of those that share their strategy and backend,
    or else of all.

    Parameters
    ----------
    config : RunConfig
        What would run.
    gemms : sequence of Gemm
        What ``config.gemms()`` returned.
    settings : sequence of Setting
        What `accelsim.runner.cases.list_settings` returned.
    """
    bench = CaseBench(config)
    status = {choice.key: bench.availability(choice) for choice in config.backends}
    devices = {key: found.device for key, found in status.items() if found.available}
    kinds: dict[tuple[str, str], list[Setting]] = defaultdict(list)
    for setting in settings:
        kind = (str(setting.unpack.strategy), setting.choice.key)
        if kind[1] in devices:
            kinds[kind].append(setting)
    here = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if config.product == "none":
        return _counted(config, gemms, kinds, devices, here)
    operands = _crop(typical(gemms))

    def sample(setting: Setting, device: torch.device) -> _Sample:
        return _sample(case_of(typical(gemms), setting, config), operands, config, device)

    samples = _samples(kinds, devices, sample)
    macs = sum(gemm.macs for gemm in gemms)
    repeats = config.timing.warmup + config.timing.repeats
    every = [sample for found in samples.values() for sample in found]
    seconds = sum(
        repeats * macs * len(same) * _seconds_per_mac(samples[kind] or every)
        for kind, same in kinds.items()
    )
    ratio = max((sample.ratio for sample in every), default=0.0)
    most = max(_bytes(gemm, ratio) for gemm in gemms) if ratio else 0
    return RunEstimate(seconds, here + most, len(every), sum(map(len, kinds.values())))


def _counted(
    config: RunConfig,
    gemms: Sequence[Gemm],
    kinds: Mapping[tuple[str, str], Sequence[Setting]],
    devices: Mapping[str, str],
    here: int,
) -> RunEstimate:
    """Estimate a run that counts; `here` is the memory of this process in bytes."""
    counts = CountEstimate(config, gemms)
    samples = _samples(kinds, devices, counts.sample)
    every = [sample for found in samples.values() for sample in found]
    shared: set[str] = set()
    seconds, most = 0.0, 0.0
    for kind, same in kinds.items():
        of_kind = mean(samples[kind] or every)
        seconds += counts.seconds(same, of_kind, shared)
        most = max(most, counts.largest(same) * (_FLOAT + 2 * _INTEGER + of_kind.ratio))
    return RunEstimate(seconds, here + int(most), len(every), sum(map(len, kinds.values())))


def typical(gemms: Sequence[Gemm]) -> Gemm:
    """Return the GEMM up to whose size half of all multiplications are.

    Small GEMMs, of which there may be many, cost far more for each multiplication than those that
    take the time.

    Parameters
    ----------
    gemms : sequence of Gemm
        At least one.
    """
    ordered = sorted(gemms, key=lambda gemm: gemm.macs)
    sums = [*accumulate(gemm.macs for gemm in ordered)]
    return ordered[bisect_left(sums, sums[-1] / 2)]


def _seconds_per_mac(samples: Sequence[_Sample]) -> float:
    return sum(sample.seconds_per_mac for sample in samples) / len(samples)


def _samples(
    kinds: Mapping[tuple[str, str], Sequence[Setting]],
    devices: Mapping[str, str],
    sample: Callable[[Setting, torch.device], S],
) -> dict[tuple[str, str], list[S]]:
    """Sample the settings of every kind in turn, spread over each kind, while there is time."""
    samples: dict[tuple[str, str], list[S]] = {kind: [] for kind in kinds}
    start = time.perf_counter()
    for turn in range(max(map(len, kinds.values()), default=0)):
        for kind, same in kinds.items():
            if turn < len(same) and time.perf_counter() - start < BUDGET_S:
                setting = same[_spread(turn, len(same))]
                samples[kind].append(sample(setting, torch.device(devices[kind[1]])))
    return samples


def _spread(turn: int, count: int) -> int:
    """Return the place of a turn in an order in which any first few are spread over all."""
    step = next(s for s in range(max(1, round(0.618 * count)), count + 1) if gcd(s, count) == 1)
    return (turn * step + count // 2) % count


def _crop(gemm: Gemm) -> tuple[Tensor, Tensor]:
    a, b = gemm.load()
    batch, n, d, h = CROP
    if gemm.batched:
        a, b = a[:batch], b[:batch]
    return a[..., :n, :d].contiguous(), b[..., :h, :d].contiguous()


def _sample(
    case: Case, operands: tuple[Tensor, Tensor], config: RunConfig, device: torch.device
) -> _Sample:
    small = operands[0].to(device), operands[1].to(device)
    try:
        trial = Trial(replace(case, gemm=_cropped(case.gemm, small)), small, config)
        seconds = []
        for _ in range(REPEATS):
            timer = StageTimer(device)
            start = time.perf_counter()
            trial.repeat(timer)
            seconds.append(time.perf_counter() - start)
        counts = trial.counts()
    except AccelsimError:
        return _Sample(0.0, 0.0)  # as unsupported, which takes no time
    return _Sample(min(seconds) / max(1, counts.dense_macs), counts.ratio or 1.0)


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
