"""Run a config: workload, quantize, unpack, backend, pack, verdict, record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from accelsim.config import QuantizePoint, RunConfig, UnpackPoint
from accelsim.errors import AccelsimError, NothingCouldRunError
from accelsim.exactness import compare, fits_int64, oracle
from accelsim.execute import UnsupportedError, execute, executed_macs, schedule, spec
from accelsim.quantize import Quantized, quantize
from accelsim.results import Record, RunFolder, Status, record_key
from accelsim.results.record import Quartiles, Stage
from accelsim.timing import StageTimer, measure
from accelsim.types import PerOperand
from accelsim.unpack import (
    DigitSystem,
    IntegerOperand,
    LowBitProblem,
    Strategy,
)
from gemm_backends import AccumulatorOverflow, Availability, BackendError, GemmBackend
from gemm_backends.baselines import load_baseline
from workloads import Gemm

Progress = Callable[[int, int, Record], None]
STAGES = get_args(Stage)


@dataclass(frozen=True)
class _Case:
    """One record to make."""

    gemm: Gemm
    quantize: QuantizePoint
    unpack: UnpackPoint
    backend: GemmBackend
    availability: Availability

    @property
    def fields(self) -> dict[str, Any]:
        """What is known of the record before it runs."""
        return {
            "workload": self.gemm.workload,
            "gemm": self.gemm.name,
            "op": self.gemm.op,
            "layer": self.gemm.layer,
            "phase": self.gemm.phase,
            "batch": self.gemm.batch,
            "n": self.gemm.n,
            "d": self.gemm.d,
            "h": self.gemm.h,
            "percentile": self.quantize.percentile.to_record(),
            "beta": self.quantize.beta.to_record(),
            "granularity": self.quantize.granularity,
            "bits": self.unpack.bits.to_record(),
            "strategy": self.unpack.strategy,
            "digits": self.unpack.digits,
            "block": self.unpack.block,
            "backend": self.backend.name,
            "backend_options": _plain(self.backend.options),
            "execution": self.availability.execution if self.availability.available else None,
            "device": self.availability.device if self.availability.available else None,
        }


def run(config: RunConfig, folder: RunFolder, progress: Progress) -> list[Record]:
    """Make every record of a config that the folder does not have yet.

    Parameters
    ----------
    config : RunConfig
        What to run.
    folder : RunFolder
        Where each record is written as soon as it is known.
    progress : callable
        Called with the number of records done, their total, and the newest.

    Returns
    -------
    list of Record
        All records of the folder.

    Raises
    ------
    DataError
        If an operand of a bundle holds NaN or infinity; nothing has run then.
    NothingCouldRunError
        If every backend is unavailable; their records are written all the same.
    """
    gemms = config.gemms()
    for gemm in gemms:
        gemm.check_finite()
    cases = list(_cases(config, gemms))
    done = folder.done_keys()
    bench = _Bench(config)
    for number, case in enumerate(cases, start=1):
        if record_key(case.fields) in done:
            continue
        record = _record(case, bench)
        folder.append(record)
        progress(number, len(cases), record)
    records = list(folder.records)
    if records and all(record.status is Status.UNAVAILABLE for record in records):
        reasons = dict.fromkeys(f"{record.backend}: {record.reason}" for record in records)
        raise NothingCouldRunError("no backend can run here: " + "; ".join(reasons))
    return records


def _cases(config: RunConfig, gemms: list[Gemm]) -> Iterator[_Case]:
    backends = [entry.load() for entry in config.backends]
    availabilities = [_availability(backend) for backend in backends]
    for gemm in gemms:
        for rounding in config.quantize_points():
            for unpacking in config.unpack_points():
                for backend, availability in zip(backends, availabilities, strict=True):
                    configured = backend.for_bits(unpacking.bits.a, unpacking.bits.b)
                    yield _Case(gemm, rounding, unpacking, configured, availability)


def _availability(backend: GemmBackend) -> Availability:
    """Ask a backend whether it can run; one that fails to answer cannot, and stops no other."""
    try:
        return backend.status()
    except BackendError as error:
        return Availability(False, str(error))


def _record(case: _Case, bench: _Bench) -> Record:
    """Run one case; whatever goes wrong becomes a record with the reason."""
    if not case.availability.available:
        return Record(
            **case.fields, status=Status.UNAVAILABLE, reason=case.availability.reason or "unknown"
        )
    try:
        return bench.record(case)
    except UnsupportedError as error:
        return Record(**case.fields, status=Status.UNSUPPORTED, reason=str(error))
    except AccumulatorOverflow as error:
        return Record(**case.fields, status=Status.OVERFLOW, reason=str(error))
    except AccelsimError as error:
        return Record(**case.fields, status=Status.ERROR, reason=str(error))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        return Record(**case.fields, status=Status.ERROR, reason=reason)


class _Bench:
    """Measures cases; the operands and the oracle's product of the last one are kept."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._operands: tuple[Any, tuple[Tensor, Tensor]] | None = None
        self._expected: tuple[Any, Any] | None = None
        self._baselines: dict[Any, dict[str, float]] = {}

    def record(self, case: _Case) -> Record:
        """Run every repeat of a case and judge the product of each."""
        timing = self._config.timing
        device = torch.device(case.availability.device)
        operands = self._load(case.gemm, device)
        systems = case.unpack.bits.map(lambda bits: DigitSystem(case.unpack.digits, bits))
        strategy = self._config.strategy(case.unpack.strategy, case.unpack.block)
        pipeline = _Pipeline(case, operands, systems, strategy, self._config)
        timer = StageTimer(device, timing.warmup)
        for _ in range(timing.warmup + timing.repeats):
            with timer.repeat():
                pipeline.repeat(timer)
        verdict = compare(pipeline.result, self._oracle(case, pipeline))
        if verdict.exact:
            status, reason = Status.OK, ""
        elif pipeline.overflows:
            status = Status.OVERFLOW
            reason = f"the accumulator overflowed at {pipeline.overflows} steps"
        else:
            status = Status.INEXACT
            reason = f"{verdict.mismatches} entries differ by up to {verdict.max_abs_error}"
        times = timer.summary()
        total_s = times["total"]["median"] / 1e3
        gemm_s = times["gemm"]["median"] / 1e3
        problem, scheduled = pipeline.problem, pipeline.scheduled
        baselines = self._baseline_times(case.gemm, operands, device)
        return Record(
            **case.fields,
            status=status,
            reason=reason,
            exact=verdict.exact,
            mismatches=verdict.mismatches,
            max_abs_error=verdict.max_abs_error,
            relative_error_vs_float=_relative_error(pipeline, operands),
            strategy_chosen=problem.strategy_chosen,
            ratio=problem.ratio,
            dense_macs=problem.dense_macs,
            low_bit_macs=scheduled.low_bit_macs,
            sparse_macs=scheduled.sparse_macs,
            executed_macs=executed_macs(scheduled, case.backend, systems),
            shift_adds=scheduled.shift_adds,
            gather_bytes=scheduled.gather_bytes,
            scatter_bytes=scheduled.scatter_bytes,
            products=len(scheduled.products),
            max_digits_a=problem.max_digits_a,
            max_digits_b=problem.max_digits_b,
            out_of_bound_a=problem.out_of_bound_a,
            out_of_bound_b=problem.out_of_bound_b,
            time_ms={stage: Quartiles(**times[stage]) for stage in STAGES if stage in times},
            baselines=baselines,
            tops=2 * scheduled.low_bit_macs / gemm_s / 1e12 if gemm_s else None,
            effective_tops=2 * problem.dense_macs / total_s / 1e12 if total_s else None,
            speedup_vs={name: ms / 1e3 / total_s for name, ms in baselines.items() if total_s},
            **_cost(case.backend, systems, scheduled),
        )

    def _load(self, gemm: Gemm, device: torch.device) -> tuple[Tensor, Tensor]:
        key = (gemm.id, device)
        if self._operands is None or self._operands[0] != key:
            a, b = gemm.load()
            self._operands = (key, (a.to(device), b.to(device)))
        return self._operands[1]

    def _oracle(self, case: _Case, pipeline: _Pipeline) -> Any:
        key = (case.gemm.id, case.quantize)
        if self._expected is None or self._expected[0] != key:
            a, b = (x.values for x in pipeline.quantized)
            product = oracle(a, b)
            self._expected = (key, product if product.ndim == 3 else product[None])
        return self._expected[1]

    def _baseline_times(
        self, gemm: Gemm, operands: tuple[Tensor, Tensor], device: torch.device
    ) -> dict[str, float]:
        key = (gemm.id, device)
        if key not in self._baselines:
            timing = self._config.timing
            times: dict[str, float] = {}
            for name in self._config.baselines:
                baseline = load_baseline(name)
                if not baseline.availability(str(device)).available:
                    continue
                a, b = baseline.prepare(operands[0]), baseline.prepare(operands[1])
                samples = measure(
                    lambda a=a, b=b, baseline=baseline: baseline.matmul(a, b),  # type: ignore[misc]
                    timing.repeats,
                    max(timing.warmup, 1),
                    device,
                )
                times[name] = samples.summary()["median"]
            self._baselines[key] = times
        return self._baselines[key]


class _Pipeline:
    """One case's way from float operands to the exact product, one repeat at a time."""

    def __init__(
        self,
        case: _Case,
        operands: tuple[Tensor, Tensor],
        systems: PerOperand[DigitSystem],
        strategy: Strategy,
        config: RunConfig,
    ) -> None:
        self._case, self._operands, self._systems = case, operands, systems
        self._strategy, self._config = strategy, config
        self._ahead: dict[str, tuple[Quantized, IntegerOperand]] = {}
        self.overflows = 0
        self.result: Any = None

    def repeat(self, timer: StageTimer) -> None:
        """Run all stages once."""
        (self.quantized, integers) = self._front(timer)
        with timer.stage("unpack"):
            self.problem: LowBitProblem = self._strategy.unpack(*integers)
            self.scheduled = schedule(
                self.problem, self._case.backend, self._systems, self._config.k_split
            )
        done = execute(
            self.scheduled,
            self._case.backend,
            timer,
            watch_overflow=self._config.k_split == "never",
            wide=not fits_int64(*(x.values for x in self.quantized)),
        )
        self.result, self.overflows = done.result, done.overflows

    def _front(
        self, timer: StageTimer
    ) -> tuple[tuple[Quantized, Quantized], tuple[IntegerOperand, IntegerOperand]]:
        pairs = []
        for side, tensor in zip("ab", self._operands, strict=True):
            if side in self._ahead:
                pairs.append(self._ahead[side])
                continue
            ahead = side in self._config.timing.prepared
            with timer.stage("quantize", counted=not ahead):
                quantized = self._quantize(side, tensor)
            operand = IntegerOperand(quantized, getattr(self._systems, side))
            if ahead:
                self._ahead[side] = (quantized, operand)
            pairs.append((quantized, operand))
        (qa, ia), (qb, ib) = pairs
        return (qa, qb), (ia, ib)

    def _quantize(self, side: str, tensor: Tensor) -> Quantized:
        point, names = self._case.quantize, self._case.gemm.tensor_names
        return quantize(
            tensor,
            getattr(point.percentile, side),
            getattr(point.beta, side),
            point.granularity,
            point.zero_alpha,
            f"{self._case.gemm.workload}: tensor {getattr(names, side)!r}",
        )


def _relative_error(pipeline: _Pipeline, operands: tuple[Tensor, Tensor]) -> float | None:
    """Frobenius error of the dequantized product against float64."""
    if not isinstance(pipeline.result, Tensor):
        return None
    a, b = (x.to(torch.float64) for x in operands)
    exact = a @ b.mT
    qa, qb = pipeline.quantized
    scale = qa.scale.to(torch.float64)
    scale_b = qb.scale.to(torch.float64)
    product = pipeline.result.reshape(exact.shape).to(torch.float64)
    product = product / scale / (scale_b if scale_b.ndim == 0 else scale_b.mT)
    norm = float(torch.linalg.vector_norm(exact))
    return float(torch.linalg.vector_norm(product - exact)) / norm if norm else None


def _cost(
    backend: GemmBackend, systems: PerOperand[DigitSystem], problem: LowBitProblem
) -> dict[str, Any]:
    """Sum what the backend's own model says of each product."""
    if problem.sparse_macs:
        return {}
    costs = [backend.cost(spec(systems, product)) for product in problem.products]
    known = [cost for cost in costs if cost is not None]
    if not known or len(known) < len(costs):
        return {}
    cycles = [cost.cycles for cost in known if cost.cycles is not None]
    energies = [cost.energy_pj for cost in known if cost.energy_pj is not None]
    return {
        "cost_model": known[0].model or backend.name,
        "cycles": round(sum(cycles)) if len(cycles) == len(known) else None,
        "energy": sum(energies) * 1e-12 if len(energies) == len(known) else None,
    }


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in options.items()
    }
