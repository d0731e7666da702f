"""The record: what one GEMM with one setting gave on one backend."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, JsonValue, NonNegativeInt, model_validator

from accelsim.records.keyed import Keyed, RecordKey, Strict, canonical_json

Number: TypeAlias = int | float
Time: TypeAlias = Annotated[float, Field(ge=0)]


class Status(StrEnum):
    """The outcome of a record.

    ``ok``: every integer is equal. ``inexact``: some differ. ``overflow``: the backend reported
    that its accumulator overflowed. ``unsupported``: the backend does not do this GEMM.
    ``unavailable``: it does not run on this machine. ``error``: something raised. ``timeout``: it
    did not end in time. ``counted``: operations were counted and nothing was multiplied, as asked.
    """

    OK = "ok"
    INEXACT = "inexact"
    OVERFLOW = "overflow"
    UNSUPPORTED = "unsupported"
    UNAVAILABLE = "unavailable"
    ERROR = "error"
    TIMEOUT = "timeout"
    COUNTED = "counted"

    @property
    def failed(self) -> bool:
        """Whether this status makes a run fail (exit status 1)."""
        return self.ran and self not in (Status.OK, Status.COUNTED)

    @property
    def ran(self) -> bool:
        """Whether anything ran: the backend is available and does this GEMM."""
        return self not in (Status.UNSUPPORTED, Status.UNAVAILABLE)


class Quartiles(Strict):
    """Repeated times of one stage: median and quartiles in ms, and the number of repeats."""

    median: Time
    p25: Time
    p75: Time
    repeats: Annotated[int, Field(ge=1)]


class OperandPair(Strict):
    """A setting that differs between operand A and operand B."""

    a: Number
    b: Number


class Exponents(Strict):
    """The power of two that each operand was multiplied by before it was rounded."""

    a: int
    b: int


class FirstMismatch(Strict):
    """The first wrong entry: ``[batch, row, column]``, what is right there, and what was found."""

    index: Annotated[list[NonNegativeInt], Field(min_length=3, max_length=3)]
    expected: int
    found: int


class Minimised(Strict):
    """The smallest GEMM found that still shows a mismatch.

    `config` is the file that replays it with ``accelsim run``, its path from the run's folder.
    """

    config: str
    batch: NonNegativeInt
    n: NonNegativeInt
    d: NonNegativeInt
    h: NonNegativeInt


class Roofline(Strict):
    """Where a GEMM lies on the roofline of a modelled accelerator.

    `intensity` is in low-bit multiplications per byte from and to DRAM, `achieved` and `attainable`
    in multiplications per cycle; `bound` says what attains no more.
    """

    intensity: float
    achieved: float
    attainable: float
    bound: Literal["compute", "dram"]


class TimingNotes(Strict):
    """The conditions under which the times of a record were taken.

    `relative_error` is half the width of the 95% interval of the median total over that median
    (null for fewer than 6 repeats), `outliers` counts totals beyond Tukey's fences (they are in the
    samples and in the quartiles), `load_per_core` is the load average when the repeats began,
    `clock_mhz` the device's clock before and after them, `neighbours` the workers that shared the
    host in a distributed sweep. `interleaved` says that baselines were timed in turn with the
    repeats, `graph` that the replays of a CUDA graph were timed.
    """

    cache: Literal["warm", "cold"]
    warmup: NonNegativeInt
    relative_error: float | None
    outliers: NonNegativeInt
    load_per_core: float
    clock_mhz: Annotated[list[float | None], Field(min_length=2, max_length=2)]
    neighbours: NonNegativeInt | None = None
    interleaved: bool = False
    graph: bool = False


Stage: TypeAlias = Literal["quantize", "unpack", "prepare", "gemm", "pack", "dequantize", "total"]
"""The stages of the general route; a backend's own route may have fewer."""

Setting: TypeAlias = int | float | OperandPair


class Record(Keyed):
    """One line of ``records.jsonl``; the fields and their units are those of ``docs/formats.md``.

    Counts are integers of any size. `correction_macs` are the low-bit multiplications beyond the
    dense ones, `sparse_macs` those in sparse products; `gather_bytes` are the products' digits
    beyond one copy of A and B, `scatter_bytes` what `shift_adds` read and write in C. `gemm_bytes`
    are the digits that the products read and the 32-bit sums that they write, each once.
    `samples_ms` holds every repeat that `time_ms` sums up, in the order of measurement. Times are
    in ms, `tops` and `effective_tops` in 10^12 operations per second (a multiply-add is two),
    `energy` and `energy_by` in joules, `traffic` in bytes by level and operand. `cycles` are those
    of the products, `compute_cycles`, with `shift_add_cycles` and `stall_cycles`; `utilization` is
    the share of them in which a multiplier had a low-bit multiplication to do; `area_time` is
    `relative_area` times `cycles`; `cost_basis` says of each such figure where it comes from.
    `prepared` are the operands that were ready before every repeat, `replans` says how often a
    fused route met operands beyond its plan, and `judged` says which kernel the verdict is about,
    where that is not the timed one. `ratio_basis` says whether counts are those of operands that
    were given, or drawn from a profile, or scaled from a sample of such rows. `k_pieces` is 1 where
    no K had to be cut. None means that the value does not exist, as for the times of a backend that
    is unavailable.

    Raises
    ------
    pydantic.ValidationError
        If a field is missing, unknown or of the wrong type, if a number is NaN or infinite, if
        the status contradicts `exact`, or if something did not run and `reason` is empty.
    """

    workload: str
    gemm: str
    op: str
    layer: str = ""
    phase: str
    batch: NonNegativeInt = 1
    n: NonNegativeInt
    d: NonNegativeInt
    h: NonNegativeInt

    percentile: Setting
    beta: Setting
    granularity: str | dict[str, str]
    bits: Setting
    strategy: str
    strategy_chosen: str | None = None
    digits: str
    block: int | None = None

    backend: str
    backend_options: dict[str, JsonValue] = Field(default_factory=dict)
    execution: Literal["native", "emulated", "fallback"] | None = None
    device: str | None = None

    status: Annotated[Status, Field(strict=False)]
    reason: str = ""
    exact: bool | None = None
    mismatches: NonNegativeInt | None = None
    max_abs_error: NonNegativeInt | None = None
    relative_error_vs_float: float | None = None

    ratio: float | None = None
    dense_macs: NonNegativeInt | None = None
    low_bit_macs: NonNegativeInt | None = None
    executed_macs: NonNegativeInt | None = None
    shift_adds: NonNegativeInt | None = None
    products: NonNegativeInt | None = None
    max_digits_a: NonNegativeInt | None = None
    max_digits_b: NonNegativeInt | None = None
    out_of_bound_a: NonNegativeInt | None = None
    out_of_bound_b: NonNegativeInt | None = None

    time_ms: dict[Stage, Quartiles] = Field(default_factory=dict)
    baselines: dict[str, Time] = Field(default_factory=dict)
    tops: float | None = None
    effective_tops: float | None = None
    speedup_vs: dict[str, float] = Field(default_factory=dict)

    cycles: NonNegativeInt | None = None
    energy: float | None = None
    cost_model: str | None = None

    correction_macs: int | None = None
    sparse_macs: NonNegativeInt | None = None
    gather_bytes: NonNegativeInt | None = None
    scatter_bytes: NonNegativeInt | None = None
    first_mismatch: FirstMismatch | None = None
    minimised: Minimised | None = None
    operands_sha256: str | None = None
    gemm_bytes: NonNegativeInt | None = None
    samples_ms: dict[Stage, list[Time]] = Field(default_factory=dict)
    baseline_samples_ms: dict[str, list[Time]] = Field(default_factory=dict)
    timing: TimingNotes | None = None
    cost_basis: dict[str, str] = Field(default_factory=dict)
    shift_add_cycles: NonNegativeInt | None = None
    utilization: float | None = None
    relative_area: float | None = None
    area_time: float | None = None
    area_mm2: float | None = None
    compute_cycles: NonNegativeInt | None = None
    stall_cycles: NonNegativeInt | None = None
    seconds: float | None = None
    traffic: dict[str, dict[str, float]] = Field(default_factory=dict)
    energy_by: dict[str, float] = Field(default_factory=dict)
    roofline: Roofline | None = None
    mapping: dict[str, JsonValue] = Field(default_factory=dict)
    zero_alpha: str | dict[str, str] = "error"
    product: Literal["integers", "float", "none"] = "integers"
    prepared: list[Literal["a", "b"]] | None = None
    replans: NonNegativeInt | None = None
    scale_exponent: Exponents | None = None
    judged: str = ""
    k_pieces: NonNegativeInt | None = None
    ratio_basis: Literal["counted", "drawn", "sampled"] | None = None

    plan: str | None = None
    tolerance: float | None = None

    @model_validator(mode="after")
    def _verdict_fits(self) -> Record:
        if self.status is Status.OK and not (self.exact and self.mismatches == 0):
            raise ValueError("status ok needs exact = true and mismatches = 0")
        if self.status is Status.INEXACT and not (self.exact is False and self.mismatches):
            raise ValueError("status inexact needs exact = false and mismatches of at least 1")
        if (self.status is Status.COUNTED) and not (self.product == "none" and self.exact is None):
            raise ValueError("status counted needs product none, and no verdict")
        if self.exact and self.max_abs_error != 0:
            raise ValueError("an exact result has max_abs_error 0")
        if self.exact is None and not self.reason:
            raise ValueError(f"status {self.status} without a result needs a reason")
        if (self.cycles is not None or self.energy is not None) and not self.cost_model:
            raise ValueError("cycles and energy need the name of their cost_model")
        return self

    @property
    def key(self) -> RecordKey:
        """See `record_key`."""
        return record_key(self)

    @property
    def available(self) -> bool:
        """Whether the backend is available on this machine."""
        return self.status is not Status.UNAVAILABLE

    @property
    def is_cheap(self) -> bool:
        """Whether nothing was multiplied for it."""
        return self.status is Status.COUNTED

    def key_fields(self) -> dict[str, Any]:
        """Return the fields that tell it from all others of its run, as plain JSON types."""
        return self.model_dump(mode="json", include=set(KEY_FIELDS))

    def without_times(self) -> Record:
        """Return the record with everything that was timed left out."""
        return self.model_copy(
            update={
                "time_ms": {},
                "samples_ms": {},
                "baselines": {},
                "baseline_samples_ms": {},
                "speedup_vs": {},
                "tops": None,
                "effective_tops": None,
                "timing": None,
            }
        )


KEY_FIELDS = (
    "workload",
    "gemm",
    "percentile",
    "beta",
    "granularity",
    "zero_alpha",
    "bits",
    "strategy",
    "digits",
    "block",
    "product",
    "plan",
    "tolerance",
    "backend",
    "backend_options",
)
"""The fields that tell the records of a run apart."""


def record_key(record: Record | Mapping[str, Any]) -> RecordKey:
    """Return the key of a record in its run: the values of `KEY_FIELDS`.

    Parameters
    ----------
    record : Record or mapping
        A record, or just its key fields, as they are known before it has run.

    Returns
    -------
    tuple of str
        The canonical JSON of each field: 95 and 95.0 are the same, so is any order of options.

    Raises
    ------
    KeyError
        If a mapping lacks a key field.
    """
    values = record.key_fields() if isinstance(record, Record) else record
    return tuple(canonical_json(values[field]) for field in KEY_FIELDS)
