"""Chooses the plan of a run, and another one if it was exceeded."""

from __future__ import annotations

import torch
from torch import Tensor

from accelsim.types import PerOperand
from gemm_backends.cuda.fused.few import few_plan
from gemm_backends.cuda.fused.layout import column_groups, layouts
from gemm_backends.cuda.fused.operand import ColumnDigits
from gemm_backends.cuda.fused.plan import TILE, Columns, Dense, Few, Plan, high_parts, plan_columns
from gemm_backends.cuda.fused.prepared import FusedOperand
from gemm_backends.cuda.fused.rows import fits_registers
from gemm_backends.cuda.fused.sides import FOUND_WORDS, Floats
from gemm_backends.cuda.fused.status import NO_PROOF, Report
from gemm_backends.cuda.fused.way import Incoming, Shape

MOST_COLUMN_DIGITS = 3
"""Digits of the largest entry of an operand with slots and places."""

MOST_SLACK = 4
"""The largest factor of additional room that is tried before planes are used."""

COPIED_BYTE = 410
"""Multiplications that take as long as one copied digit, which is written and read: 2.6e12 bytes
and 7e14 multiplications in a second, as measured on an H100."""

ASIDE = 1 << 33
"""Multiplications that take as long as the additional kernels for slots and places."""

CLAMP = 2**31 - 256
"""Integers are examined up to this magnitude."""


def first_plan(sides: PerOperand[Incoming], shape: Shape) -> Plan:
    """Return a plan for operands like these; waits for the GPU."""
    few = few_plan(sides, shape)
    if few is not None:
        return few
    if shape[0] > 1 or max(_prepared_digits(x) for x in (sides.a, sides.b)) > MOST_COLUMN_DIGITS:
        return blind_plan(sides)
    return _plan_for(sides, shape, slack=1)


def graph_plan(sides: PerOperand[Incoming], shape: Shape) -> Dense | Few:
    """Return a plan for a run that is recorded before any other was made."""
    return few_plan(sides, shape) or blind_plan(sides)


def blind_plan(sides: PerOperand[Incoming]) -> Dense:
    """Return a plan for unknown operands: one digit, unless an operand is prepared."""
    return Dense(_prepared_digits(sides.a), _prepared_digits(sides.b))


def next_plan(
    plan: Plan, report: Report, sides: PerOperand[Incoming], shape: Shape, attempt: int
) -> Plan:
    """Return another plan for operands that exceeded the last one.

    Parameters
    ----------
    plan : Plan
        The last one.
    report : Report
        Why the operands do not fit it.
    sides : PerOperand of Incoming
        The operands.
    shape : tuple of int
        batch, n, d, h.
    attempt : int
        How many plans these operands have not fitted.
    """
    unproved = bool(report.flags & NO_PROOF)
    slack = 1 << attempt
    short = max(*report.digits, *_digits(sides)) <= MOST_COLUMN_DIGITS
    if isinstance(plan, Few):
        counts = [max(pair) for pair in zip((plan.a, 1), report.digits, strict=True)]
        needed = PerOperand(counts[0], max(counts[1], _prepared_digits(sides.b)))
        return Dense(needed.a, needed.b, unproved and needed.a == plan.a)
    if shape[0] == 1 and short and not unproved and slack <= MOST_SLACK:
        again = _plan_for(sides, shape, slack)
        if again != plan:
            return again
    if isinstance(plan, Columns):
        digits = [max(1, *pair) for pair in zip(report.digits, _digits(sides), strict=True)]
        return Dense(digits[0], digits[1])
    digits = [max(pair) for pair in zip((plan.a, plan.b), report.digits, strict=True)]
    grown = digits != [plan.a, plan.b]
    return Dense(digits[0], digits[1], plan.wide or (unproved and not grown))


def _plan_for(sides: PerOperand[Incoming], shape: Shape, slack: int) -> Plan:
    _, n, d, h = shape
    a, b = _integers(sides.a), _integers(sides.b)
    dense = Dense(_needed(a), _needed(b))
    prepared = sides.map(lambda x: isinstance(x, FusedOperand))
    plan = plan_columns(a, b, prepared, slack, _fixed_slots(sides, shape))
    if plan is None:
        return dense
    layout_a, layout_b = layouts(plan, n, d, h)
    tiles = sum(segment.tiles for segment in column_groups(layout_a, layout_b).segments)
    copied = TILE * (n * layout_a.copied_tiles + h * layout_b.copied_tiles)
    cost = n * h * TILE * tiles + COPIED_BYTE * copied + ASIDE
    return plan if cost < n * h * TILE * layout_a.low * dense.a * dense.b else dense


def _fixed_slots(sides: PerOperand[Incoming], shape: Shape) -> tuple[int, ...] | None:
    """Return the columns with slots in all runs by earlier plans, if such plans are for them."""
    a, b = sides.a, sides.b
    if not (isinstance(a, Floats) and isinstance(b, FusedOperand)):
        return None
    if not (a.by_row and fits_registers(shape[2], a.x.dtype)):
        return None
    return (b.digits.slots or ()) if isinstance(b.digits, ColumnDigits) else ()


def _integers(x: Incoming) -> Tensor:
    if isinstance(x, FusedOperand):
        return x.integers()
    x.rounder.run(x.x, torch.zeros(FOUND_WORDS, dtype=torch.int32, device=x.x.device))
    scale = x.rounder.scale.reshape(-1, 1)
    values = (x.x.to(torch.float32) * scale).nan_to_num_().round_().clamp_(-CLAMP, CLAMP)
    return values.to(torch.int32)


def _needed(integers: Tensor) -> int:
    digits = 1
    rest = high_parts(integers)
    while rest.any():
        digits, rest = digits + 1, high_parts(rest)
    return digits


def _digits(sides: PerOperand[Incoming]) -> tuple[int, int]:
    return _prepared_digits(sides.a), _prepared_digits(sides.b)


def _prepared_digits(x: Incoming) -> int:
    return x.count if isinstance(x, FusedOperand) else 1
