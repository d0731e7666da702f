"""The one table of what records hold: names, units, meanings, and how values are summed and shown.

Documentation, columns, legends and sums come from it. A new field of a record is one entry here and
one line in `Record`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from accelsim.arithmetic.totals import total
from accelsim.records.record import Record, Stage


@dataclass(frozen=True)
class Field:
    """A field of a record.

    Parameters
    ----------
    name : str
        As ``records.jsonl`` has it.
    meaning : str
        What it is, in one line.
    unit : str
        Of its numbers; empty for pure numbers and for other values.
    short : str
        The head of its column in narrow tables; the name if it is empty.
    said : str
        How a sentence names a value, such as ``{} bits``; for settings only.
    summed : {"sum", ""}
        Whether the value of several GEMMs together is the sum of theirs.
    parts : tuple of str or None
        The two fields whose sums over several GEMMs, one over the other, are its value of them.
    """

    name: str
    meaning: str
    unit: str = ""
    short: str = ""
    said: str = ""
    summed: Literal["sum", ""] = ""
    parts: tuple[str, str] | None = None

    @property
    def title(self) -> str:
        """The head of its column."""
        return self.short or self.name


def _field(name: str, meaning: str, unit: str = "", short: str = "", said: str = "") -> Field:
    return Field(name, meaning, unit, short, said)


def _count(name: str, meaning: str, unit: str = "", short: str = "") -> Field:
    return Field(name, meaning, unit, short, summed="sum")


FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        _field("workload", "where the GEMM is from", said="workload {}"),
        _field("gemm", "name of the GEMM in its workload", short="GEMM"),
        _field(
            "op",
            "`linear` (with weights, of convolutions, too), `qk` (queries and keys) or `pv` "
            "(probabilities and values)",
        ),
        _field("layer", "the layer of the model"),
        _field("phase", "`forward`, `grad_input` (the gradient of A) or `grad_weight` (that of B)"),
        _field("batch", "matrix pairs, as many as heads: A is `[batch, n, d]`, B `[batch, h, d]`"),
        _field("n", "rows of A and of C"),
        _field("d", "columns of A and of B, over which products are summed"),
        _field("h", "rows of B, columns of C"),
        _field(
            "percentile",
            "the percentile of the magnitudes that sets the scale",
            said="percentile {}",
        ),
        _field(
            "beta",
            "rounding maps the percentile of the magnitudes to half of β",
            short="β",
            said="β {}",
        ),
        _field(
            "granularity",
            "what shares one scale: a whole tensor, or a row",
            said="one scale per {}",
        ),
        _field(
            "zero_alpha",
            "what happens where the percentile of the magnitudes is 0",
            said="zero_alpha {}",
        ),
        _field(
            "bits",
            "bits of an operand of the multiplier; A/B where they differ",
            short="b",
            said="{} bits",
        ),
        _field(
            "strategy",
            "how entries that do not fit b bits are unpacked; `mix`: the cheapest of row, column "
            "and both for A with each for B",
            said="strategy {}",
        ),
        _field(
            "strategy_chosen",
            "what was used, if the strategy chooses among several: A's way/B's way; digits beyond "
            "the first lie in further rows (`row`), further columns (`column`) or either (`both`)",
        ),
        _field("digits", "the system of digits", said="{} digits"),
        _field(
            "block",
            "columns that are multiplied at once; null for strategies without blocks",
            said="blocks of {}",
        ),
        _field(
            "product",
            "the exact integers; floats: divided by the scales, rounded once; none: only counted",
            said="product {}",
        ),
        _field("plan", "SHA-256 of the plan that gave settings, if one did"),
        _field("tolerance", "the relative error for which β was chosen, where it was `auto`"),
        _field("backend", "what multiplies"),
        _field("backend_options", "all options of the backend, defaults included"),
        _field(
            "execution",
            "`native`: the backend's own unit multiplies; `emulated`: a model in software, or "
            "plain integer arithmetic, stands in for it; `fallback`: slower instructions do",
        ),
        _field("device", "the torch device"),
        _field(
            "status",
            "`ok`, `inexact`, `overflow`, `unsupported`, `unavailable`, `error`, `timeout`, "
            "`counted`",
        ),
        _field("reason", "why there is no result, or what is wrong with it"),
        _field(
            "exact",
            "whether every integer is equal to the oracle's, and with `product: float` every float "
            "the exact product over the scales, rounded once",
        ),
        _field("judged", "the kernel that the verdict is about, if it is not the timed one"),
        _field(
            "prepared",
            "operands that were rounded, in digits and laid out ahead of every timed repeat",
        ),
        _count("replans", "timed repeats in which a fused route met operands beyond its plan"),
        _field(
            "scale_exponent",
            "the power of two that A and B were multiplied by first, 0 unless a scale would leave "
            "float32",
        ),
        _count("mismatches", "entries that differ from the oracle's"),
        _field("max_abs_error", "largest difference of an entry"),
        _field(
            "first_mismatch",
            "the first entry that differs: its index, the right value, the value found",
        ),
        _field("minimised", "the smallest GEMM that shows a mismatch, and its config"),
        _field(
            "relative_error_vs_float",
            "Frobenius norm of the dequantized product's error over that of the float64 product",
        ),
        Field(
            "ratio",
            "low-bit multiplications over those of the GEMM",
            short="r",
            parts=("low_bit_macs", "dense_macs"),
        ),
        _field(
            "ratio_basis",
            "`counted` on the operands; `drawn`: on operands drawn from a profile; `sampled`: "
            "scaled from some rows or heads of such, as `reason` says",
        ),
        _count("dense_macs", "multiplications of the GEMM: batch · n · d · h"),
        _count("low_bit_macs", "multiplications of all low-bit products", short="MACs"),
        _count("correction_macs", "low-bit multiplications beyond the dense ones"),
        _count("sparse_macs", "low-bit multiplications in sparse products"),
        _count("executed_macs", "multiplications that the backend performs, padding included"),
        _count("shift_adds", "additions of shifted products into C", short="shift-adds"),
        _count("products", "low-bit products"),
        _field(
            "k_pieces", "most pieces that the K of one product was cut into for the accumulator"
        ),
        _count("gather_bytes", "digits beyond one copy of A and B", "bytes"),
        _count("scatter_bytes", "data of C that `shift_adds` read and write", "bytes"),
        _count("gemm_bytes", "the digits read and the 32-bit sums written, each once", "bytes"),
        _field("max_digits_a", "digits that the largest entry of A needs"),
        _field("max_digits_b", "digits that the largest entry of B needs"),
        _count("out_of_bound_a", "entries of A that do not fit one digit"),
        _count("out_of_bound_b", "entries of B that do not fit one digit"),
        _field("time_ms", "times of each stage of the route: `{median, p25, p75, repeats}`", "ms"),
        _field("samples_ms", "every repeat of every stage, in order", "ms"),
        _field("baselines", "medians of the float GEMMs that run on this device", "ms"),
        _field("baseline_samples_ms", "every repeat of the baselines, in order", "ms"),
        _field("tops", "2 · `low_bit_macs` over the gemm stage", "10¹² operations per second"),
        _field("effective_tops", "2 · `dense_macs` over the total", "10¹² operations per second"),
        _field(
            "speedup_vs",
            "a baseline's time over the total, above 1 is faster; like with like where `product` "
            "is `float`",
        ),
        _field(
            "timing",
            "the conditions of timing ([timing.md](timing.md)): cache, warm-up, error, outliers, "
            "load, clock in MHz, neighbours",
        ),
        _count("cycles", "cycles of the modelled accelerator, shift-adds and stalls included"),
        _count("compute_cycles", "cycles of the products"),
        _count("shift_add_cycles", "cycles of the shift-adds"),
        _count("stall_cycles", "cycles in which the array waits for memory"),
        _count("seconds", "the cycles at the accelerator's clock", "s"),
        _field(
            "utilization",
            "share of the cycles in which a multiplier had a multiplication to do",
            short="use",
        ),
        _field(
            "relative_area",
            "area of the whole array in 8-bit MACs (multiplier, 32-bit accumulator, registers)",
            short="area",
        ),
        _count(
            "area_time",
            "`relative_area` times `cycles`; tables of designs take `seconds` instead",
            short="area·time",
        ),
        _field("area_mm2", "area in the technology node that `cost_basis` names", "mm²"),
        _count("energy", "energy of the modelled accelerator", "J"),
        _field(
            "energy_by",
            "energy by component: `multiply`, `accumulate`, `lanes`, `shift_add`, `unpacker`, "
            "`sram`, `dram`, `leakage`",
            "J",
        ),
        _field(
            "traffic",
            "traffic of `dram` and `sram`, each with `a`, `b`, `c_read`, `c_write`; "
            "DRAM with `front_end` "
            "and `maps`",
            "bytes",
        ),
        _field(
            "roofline",
            "multiplications per byte of DRAM (`intensity`) and per cycle (`achieved`, "
            "`attainable`), and what bounds them (`bound`): `compute` or `dram`",
        ),
        _field(
            "mapping",
            "of the largest product, where the model was asked for one: `tile`, `order`, `chosen`",
        ),
        _field("cost_model", "the name of the model"),
        _field("cost_basis", "the source of each figure of the model"),
        _field("operands_sha256", "SHA-256 of the types, shapes and bytes of A and B"),
    )
}
"""Every field of a record, in the order in which the documentation has them."""


@dataclass(frozen=True)
class StageField:
    """A stage of a record, timed in ms.

    Parameters
    ----------
    meaning : str
        What is done in it.
    short : str
        The head of its column in narrow tables.
    """

    meaning: str
    short: str


STAGES: dict[Stage, StageField] = {
    "quantize": StageField("round both operands to integers without clipping", "quant"),
    "unpack": StageField("write the integers as matrices of b-bit digits", "unpack"),
    "prepare": StageField("bring the digits into the backend's layout", "prep"),
    "gemm": StageField("the low-bit products", "gemm"),
    "pack": StageField("add the shifted products up to the exact integer product", "pack"),
    "dequantize": StageField(
        "divide by the scales, rounded once to the type of the operands", "deq"
    ),
    "total": StageField("all stages but for what was prepared ahead of time", "total"),
}
"""The stages in their order; `total` is measured, not the sum of the others' medians."""

TOTAL: Stage = "total"

SETTINGS = tuple(name for name, field in FIELDS.items() if field.said)
"""The fields that say what was asked."""


_SUMMED_PARTS = ("time_ms", "traffic", "energy_by")
"""Fields whose parts add up over GEMMs, but for their quartiles."""


def adds_up(name: str) -> bool:
    """Whether the value of several GEMMs together is the sum of theirs.

    Parameters
    ----------
    name : str
        A field or a path in one, as `meaning` takes it.
    """
    head, _, rest = name.partition(".")
    if head in _SUMMED_PARTS:
        return rest.rpartition(".")[2] not in ("p25", "p75", "repeats")
    return head in FIELDS and FIELDS[head].summed == "sum"


def parts_of(name: str) -> tuple[str, str] | None:
    """Return the fields whose sums over GEMMs, one over the other, are a field of them together.

    Parameters
    ----------
    name : str
        A field, or a path in one.
    """
    return FIELDS[name].parts if name in FIELDS else None


def meaning(name: str) -> str | None:
    """Return what a field means; None if there is no such field.

    Parameters
    ----------
    name : str
        A field or a path in one, such as ``time_ms.gemm``, ``speedup_vs.bf16`` or ``traffic.dram``.
    """
    head, _, rest = name.partition(".")
    field = FIELDS.get(head)
    if field is None:
        return None
    stage = rest.partition(".")[0]
    found = STAGES.get(stage) if head == "time_ms" else None  # type: ignore[call-overload]
    words = found.meaning if found else field.meaning
    words = words.replace("`", "")
    return f"{words}, {field.unit}" if field.unit else words


def summed(records: Iterable[Record], name: str) -> float | None:
    """Return a field of several GEMMs together; None where one of them lacks it.

    Parameters
    ----------
    records : Iterable[Record]
        Those of the GEMMs.
    name : str
        A field, or a path in one.

    Raises
    ------
    ValueError
        If the field of several GEMMs is not the sum of theirs.
    """
    if FIELDS[name].summed != "sum":
        raise ValueError(f"{name} of several GEMMs is not the sum of theirs")
    return total(getattr(record, name) for record in records)


def markdown() -> str:
    """Return the table of `docs/formats.md`."""
    rows = ["| field | what it is | unit | of several GEMMs |", "|---|---|---|---|"]
    rows += [
        f"| `{field.name}` | {field.meaning} | {field.unit} | {_of_several(field)} |"
        for field in FIELDS.values()
    ]
    rows += ["", "| stage | what is done |", "|---|---|"]
    rows += [f"| `{name}` | {stage.meaning} |" for name, stage in STAGES.items()]
    return "\n".join(rows) + "\n"


def _of_several(field: Field) -> str:
    return (
        field.summed
        if field.parts is None
        else f"sum of `{field.parts[0]}` / sum of `{field.parts[1]}`"
    )
