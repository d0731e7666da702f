"""Makes records: runs a case, times it, judges its product; whatever goes wrong has a status."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from accelsim.config import BackendChoice, RunConfig
from accelsim.errors import AccelsimError, UnsupportedError
from accelsim.measure.allocator import keep_freed_memory
from accelsim.measure.machine import clock_mhz
from accelsim.measure.memory import describe_out_of_memory
from accelsim.measure.sampling import RepeatPlan, evictor, load_per_core, with_head_start
from accelsim.measure.statistics import outliers, relative_error
from accelsim.measure.timing import TOTAL, Samples, StageTimer, measure
from accelsim.records import Record, Status
from accelsim.records.record import (
    Exponents,
    Minimised,
    Quartiles,
    TimingNotes,
)
from accelsim.routes import Expected, expected
from accelsim.runner.cases import Case
from accelsim.runner.findings import (
    STAGES,
    Findings,
    check_stages,
    count_fields,
    first_mismatch,
    status_of,
)
from accelsim.runner.mismatch import minimise
from accelsim.runner.peak import peak_tops
from accelsim.runner.tally import CaseCounter
from accelsim.runner.trial import Trial
from gemm_backends import AccumulatorOverflow, Availability, BackendError
from gemm_backends.baselines import Baseline, load_baseline
from gemm_backends.errors import place_in
from workloads import Gemm


class CaseBench:
    """Measures the cases of one config; keeps the operands and the oracle's product of the last.

    Parameters
    ----------
    config : RunConfig
        The settings that all cases share.
    """

    def __init__(self, config: RunConfig) -> None:
        keep_freed_memory()
        self._config = config
        timing = config.timing
        self._plan = RepeatPlan(
            timing.warmup, timing.repeats, timing.target_error, timing.budget_s, timing.cache
        )
        self._availability: dict[str, Availability] = {}
        self._operands: tuple[Any, tuple[Tensor, Tensor]] | None = None
        self._expected: tuple[Any, Expected] | None = None
        self._products: tuple[Any, dict[str, Callable[[], Tensor]]] | None = None
        self._baselines: dict[Any, dict[str, Samples]] = {}
        self._tally = CaseCounter(config, self._load)

    def record(self, case: Case) -> Record:
        """Run a case; whatever goes wrong becomes a record with the reason."""
        fields = case.fields
        try:
            availability = self.availability(case.choice)
            if not availability.available:
                reason = availability.reason or "unknown"
                return Record(**fields, status=Status.UNAVAILABLE, reason=reason)
            fields |= {"execution": availability.execution, "device": availability.device}
            make = self._cost_only if case.product == "none" else self._measured
            return make(case, fields, torch.device(availability.device))
        except UnsupportedError as error:
            return Record(**fields, status=Status.UNSUPPORTED, reason=str(error))
        except AccumulatorOverflow as error:
            return Record(**fields, status=Status.OVERFLOW, reason=str(error))
        except AccelsimError as error:
            return Record(**fields, status=Status.ERROR, reason=str(error))
        except torch.OutOfMemoryError as error:
            reason = describe_out_of_memory(error)
            return Record(**fields, status=Status.ERROR, reason=reason)
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}{place_in(error, type(case.backend))}"
            return Record(**fields, status=Status.ERROR, reason=reason)

    def minimise(self, case: Case, entry: tuple[int, ...], folder: Path) -> Minimised | None:
        """Save the smallest GEMM that shows a mismatch; see `accelsim.runner.mismatch.minimise`."""
        device = torch.device(self.availability(case.choice).device)
        return minimise(case, self._config, self._load(case.gemm, device), entry, folder)

    def peak(self, case: Case) -> float | None:
        """Return how fast the backend of a case multiplies at best, in 10^12 operations/s."""
        device = torch.device(self.availability(case.choice).device)
        try:
            return peak_tops(case.backend, case.unpack.bits, device)
        except Exception:  # a plug-in may raise anything, and the records count for more
            return None

    def close(self) -> None:
        """Release the operands."""
        self._operands = self._expected = self._products = None
        self._tally.close()

    def availability(self, choice: BackendChoice) -> Availability:
        """Ask a backend, once, whether it runs here; one that fails to answer does not."""
        key = choice.key
        if key not in self._availability:
            self._availability[key] = _status(choice)
        return self._availability[key]

    def _cost_only(self, case: Case, fields: dict[str, Any], device: torch.device) -> Record:
        """Round and unpack the operands of a case, count, and multiply nothing."""
        found, reason = self._tally.count(case, device)
        return Record(**fields, status=Status.COUNTED, reason=reason, **found)

    def _measured(self, case: Case, fields: dict[str, Any], device: torch.device) -> Record:
        """Run every repeat of a case and judge the product of each."""
        operands = self._load(case.gemm, device)
        trial = Trial(case, operands, self._config)
        timer = StageTimer(device, self._plan.warmup)
        notes = _Notes(self._config, self._plan, device)
        products: dict[str, Callable[[], Tensor]] = {}
        if self._config.timing.interleaved:
            products = self._baseline_products(case.gemm, operands, device)
        found = self._repeat(case, trial, timer, device, products)
        verdict = found.judgement.integers
        clipped = found.overflows > 0 and case.backend.accumulator.overflow == "saturate"
        times = timer.summary()
        check_stages(times)
        stages = [stage for stage in STAGES if stage in times]
        samples = {stage: list(s.milliseconds) for stage, s in timer.samples.items()}
        total_s = times[TOTAL]["median"] / 1e3
        gemm_s = times["gemm"]["median"] / 1e3 if "gemm" in times else 0.0
        counts = trial.counts()
        baselines = found.baselines or self._baseline_times(case.gemm, operands, device)
        medians = {name: times.summary()["median"] for name, times in baselines.items()}
        status, reason = status_of(found, clipped)
        return Record(
            **fields,
            status=status,
            reason=reason,
            exact=found.judgement.right and not clipped,
            mismatches=verdict.mismatches or found.judgement.floats,
            max_abs_error=None
            if verdict.exact and found.judgement.floats
            else verdict.max_abs_error,
            relative_error_vs_float=trial.relative_error(),
            first_mismatch=first_mismatch(verdict),
            **count_fields(counts),
            ratio_basis="counted" if case.gemm.sketch is None else "drawn",
            prepared=list(found.prepared or ()),
            replans=found.replans,
            scale_exponent=Exponents(a=counts.scale_exponent.a, b=counts.scale_exponent.b),
            judged=trial.judged,
            time_ms={stage: Quartiles(**times[stage]) for stage in stages},
            baselines=medians,
            samples_ms={stage: samples[stage] for stage in stages},
            baseline_samples_ms={name: list(s.milliseconds) for name, s in baselines.items()},
            timing=notes.close(samples[TOTAL]),
            tops=2 * counts.low_bit_macs / gemm_s / 1e12 if gemm_s else None,
            effective_tops=2 * counts.dense_macs / total_s / 1e12 if total_s else None,
            speedup_vs={name: ms / 1e3 / total_s for name, ms in medians.items() if total_s},
        )

    def _repeat(
        self,
        case: Case,
        trial: Trial,
        timer: StageTimer,
        device: torch.device,
        baselines: Mapping[str, Callable[[], Tensor]],
    ) -> Findings:
        """Repeat until the plan says enough; keep the first judgement that is not right, if any.

        Baselines are called in turn with the repeats, each round beginning with another one.
        """
        evict = evictor(device) if self._plan.cache == "cold" else None
        # Neither the route nor a baseline is to wait for the host's first launches.
        before = with_head_start(evict, device)
        found, first = Findings(), True
        in_turn: list[str | None] = [None, *baselines]
        beside: dict[str, tuple[float, ...]] = dict.fromkeys(baselines, ())
        right = self._expect(case, trial)
        warmup = self._plan.warmup
        totals: tuple[float, ...] = ()
        start = time.perf_counter()
        while warmup or not self._plan.enough(totals, time.perf_counter() - start):
            for name in in_turn:
                if name is None:
                    trial.repeat(timer, before)
                else:
                    once = measure(baselines[name], 1, 0, device, before=before).milliseconds
                    beside[name] += () if warmup else once
            in_turn.append(in_turn.pop(0))
            if trial.tells_apart:
                found.see(trial.counts(), timed=not warmup)
            if found.judgement.right:
                found.judgement = trial.judge(right)
            if first and found.judgement.right:
                found.judgement = trial.run_changed(right) or found.judgement
            first = False
            if warmup:
                warmup -= 1
                start = time.perf_counter()
            else:
                totals = timer.samples[TOTAL].milliseconds
        found.baselines = {name: Samples(times) for name, times in beside.items()}
        return found

    def _load(self, gemm: Gemm, device: torch.device) -> tuple[Tensor, Tensor]:
        key = (gemm.id, device)
        if self._operands is None or self._operands[0] != key:
            a, b = gemm.load()
            dtype = torch.promote_types(a.dtype, b.dtype)
            self._operands = (key, (a.to(device, dtype), b.to(device, dtype)))
        return self._operands[1]

    def _expect(self, case: Case, trial: Trial) -> Expected:
        """Return the right product, which all strategies and backends have in common."""
        key = (case.gemm.id, case.quantize)
        if self._expected is None or self._expected[0] != key:
            self._expected = key, expected(trial.request, *trial.operands)
        return self._expected[1]

    def _baseline_products(
        self, gemm: Gemm, operands: tuple[Tensor, Tensor], device: torch.device
    ) -> dict[str, Callable[[], Tensor]]:
        """Return the baselines that run here, to be called in turn with the repeats."""
        key = (gemm.id, device)
        if self._products is None or self._products[0] != key:
            there = self._baselines_on(device)
            self._products = (key, {x.name: x.bind(*operands) for x in there})
        return self._products[1]

    def _baseline_times(
        self, gemm: Gemm, operands: tuple[Tensor, Tensor], device: torch.device
    ) -> dict[str, Samples]:
        """Time the baselines once for a GEMM."""
        key = (gemm.id, device)
        if key not in self._baselines:
            self._baselines[key] = {
                baseline.name: self._plan.sample(baseline.bind(*operands), device)
                for baseline in self._baselines_on(device)
            }
        return self._baselines[key]

    def _baselines_on(self, device: torch.device) -> list[Baseline]:
        named = (load_baseline(name) for name in self._config.baselines)
        return [baseline for baseline in named if baseline.availability(str(device)).available]


class _Notes:
    """Watches the machine while a case is repeated."""

    def __init__(self, config: RunConfig, plan: RepeatPlan, device: torch.device) -> None:
        self._timing, self._plan, self._device = config.timing, plan, str(device)
        self._load = round(load_per_core(), 3)
        self._clock = clock_mhz(self._device)

    def close(self, totals: list[float]) -> TimingNotes:
        error = relative_error(totals)
        return TimingNotes(
            cache=self._plan.cache,
            warmup=self._plan.warmup,
            relative_error=None if error is None or math.isinf(error) else error,
            outliers=outliers(totals),
            load_per_core=self._load,
            clock_mhz=[self._clock, clock_mhz(self._device)],
            interleaved=self._timing.interleaved,
            graph=self._timing.graph,
        )


def _status(choice: BackendChoice) -> Availability:
    try:
        return choice.load().status()
    except BackendError as error:
        return Availability(False, str(error))
