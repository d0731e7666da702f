"""Operation counts of a run, for records and tallies."""

from __future__ import annotations

import torch

from accelsim.types import Counts, PerOperand, Side
from gemm_backends.cuda.fused.columns import ColumnsWay
from gemm_backends.cuda.fused.plan import TILE
from gemm_backends.cuda.fused.status import Report
from gemm_backends.cuda.fused.way import Incoming, Shape, Way


def counts_of(
    way: Way | None,
    report: Report | None,
    sides: PerOperand[Incoming],
    shape: Shape,
    operands: PerOperand[torch.Size],
    prepared: tuple[Side, ...],
    replans: int,
) -> Counts:
    """Return the operation counts of a way's last run; waits for it.

    Parameters
    ----------
    way : Way or None
        None where there was nothing to multiply.
    report : Report or None
        What was concluded.
    sides : PerOperand of Incoming
        Its operands.
    shape : tuple of int
        batch, n, d, h.
    operands : PerOperand of torch.Size
        Shapes of the float operands.
    prepared : tuple of {"a", "b"}
        Operands that came prepared.
    replans : int
        Of the route so far.
    """
    batch, n, d, h = shape
    if way is None or report is None:
        entries = operands.map(torch.Size.numel)
        return Counts(
            strategy_chosen="none",
            dense_macs=0,
            low_bit_macs=0,
            products=0,
            entries_a=entries.a,
            entries_b=entries.b,
            prepared=prepared,
            replans=replans,
        )
    digits, beyond = way.max_digits(report), way.out_of_bound(report)
    usual = not report.gate and not report.listed
    if usual and way.counts is not None and way.counts.prepared == prepared:
        return _with_values(way.counts, digits, beyond, replans)
    work = way.work(report)
    result = batch * n * h
    counts = Counts(
        strategy_chosen="columns" if isinstance(way, ColumnsWay) else "planes",
        dense_macs=result * d,
        low_bit_macs=work.low_bit_macs,
        executed_macs=way.padded * TILE * work.tiles + work.listed,
        shift_adds=work.listed + (work.products - 1) * result,
        gather_bytes=work.copied_bytes,
        scatter_bytes=16 * (work.products - 1) * result,
        gemm_bytes=batch * (n + h) * TILE * work.tiles + 4 * work.products * result,
        products=work.products,
        max_digits_a=digits.a,
        max_digits_b=digits.b,
        out_of_bound_a=beyond.a,
        out_of_bound_b=beyond.b,
        entries_a=batch * n * d,
        entries_b=batch * h * d,
        prepared=prepared,
        replans=replans,
        scale_exponent=sides.map(lambda x: x.exponent),
    )
    if usual:
        way.counts = counts
    return counts


def _with_values(
    counts: Counts, digits: PerOperand[int], beyond: PerOperand[int], replans: int
) -> Counts:
    """Return the counts of a run like one before, but for what its values decide."""
    new = object.__new__(Counts)
    # A frozen dataclass with so many fields takes as long to make as all else of a count.
    fields = new.__dict__
    fields.update(counts.__dict__)
    fields["max_digits_a"], fields["max_digits_b"] = digits.a, digits.b
    fields["out_of_bound_a"], fields["out_of_bound_b"] = beyond.a, beyond.b
    fields["replans"] = replans
    return new
