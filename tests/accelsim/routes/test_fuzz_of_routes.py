"""Any operands, settings and backend, from floats to floats, against Python's numbers."""

from fractions import Fraction

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from timebox import search

from accelsim.arithmetic.rounding import rank
from accelsim.errors import DataError
from accelsim.measure.timing import Untimed
from accelsim.routes import SimulatedRoute, open_route
from accelsim.types import PerOperand, Request, Rounding, StrategyChoice
from accelsim.unpack import DigitSystem
from gemm_backends import load_backend

STRATEGIES = ["row", "column", "both", "row/column", "mix", "best", "block", "optimal"]
BACKENDS = {
    "int64": {},
    "cpu-int8": {},
    "emulator": {},
    "narrow emulator": {"accumulator_bits": 24, "overflow": "saturate"},
}
FLOATS = st.one_of(
    st.floats(-4, 4, width=16),
    st.floats(-1, 1, width=32),
    st.integers(-3000, 3000).map(float),
    st.sampled_from([0.0, 0.0, 1e-30, -1e-30, 2.0**-149, 1e30, 60.0, -1.5]),
)


@st.composite
def cases(draw):
    """Draw operands and everything that decides on their product."""
    batch, n, d, h = (draw(st.integers(1, most)) for most in (2, 4, 9, 4))
    sides = [
        [[[draw(FLOATS) for _ in range(d)] for _ in range(rows)] for _ in range(batch)]
        for rows in (n, h)
    ]
    granularity = draw(st.sampled_from(["tensor", "row"]))
    rounding = PerOperand(
        *(
            Rounding(
                draw(st.sampled_from([50, 80, 95, 99.9, 100])),
                draw(st.sampled_from([1, 5, 15, 31, 127, 255, 4095])),
                granularity,
                "nonzero",
            )
            for _ in "ab"
        )
    )
    backend = draw(st.sampled_from(sorted(BACKENDS)))
    widths = st.just(8) if backend == "cpu-int8" else st.integers(2, 8)
    system = draw(st.sampled_from(["balanced", "paper"]))
    digits = PerOperand(*(DigitSystem(system, draw(widths)) for _ in "ab"))
    strategy = draw(st.sampled_from(STRATEGIES))
    block = draw(st.sampled_from([1, 2, 4])) if strategy in ("block", "best") else None
    return sides, rounding, digits, backend, strategy, block


def rounded(rows, rounding):
    """Round ``[rows][d]`` in Python's numbers; return the integers and the scale of each row."""
    shared = rounding.granularity == "tensor"
    groups = [[value for row in rows for value in row]] * len(rows) if shared else rows
    integers, scales = [], []
    for row, group in zip(rows, groups, strict=True):
        ordered = sorted((abs(value) for value in group), reverse=True)
        alpha = ordered[rank(len(group), rounding.percentile) - 1]
        if ordered[0] and not alpha:
            present = [value for value in ordered if value]
            alpha = present[rank(len(present), rounding.percentile) - 1]
        scale = (
            to_float32(Fraction(rounding.beta) / (2 * Fraction(alpha))) if alpha else Fraction(1)
        )
        scales.append(scale)
        integers.append([round(to_float32(Fraction(value) * scale)) for value in row])
    return integers, scales


def to_float32(value):
    """Round a fraction to 24 bits, without limits to its exponent but the lowest one."""
    if not value:
        return Fraction(0)
    exponent = abs(value).numerator.bit_length() - value.denominator.bit_length() - 24
    while abs(value) / Fraction(2) ** exponent >= 2**24:
        exponent += 1
    return round(value / Fraction(2) ** max(exponent, -149)) * Fraction(2) ** max(exponent, -149)


def check(case):
    sides, rounding, digits, backend, strategy, block = case
    tensors = [torch.tensor(side, dtype=torch.float32) for side in sides]
    flat = [[row for head in side for row in head] for side in (x.tolist() for x in tensors)]
    both = [rounded(rows, how) for rows, how in zip(flat, (rounding.a, rounding.b), strict=True)]
    scales = [scale for _, side in both for scale in side]
    assume(all(2.0**-100 < scale < 2.0**100 for scale in scales))
    (batch, n, d), h = tensors[0].shape, tensors[1].shape[1]
    right = [
        [
            [
                sum(
                    x * y for x, y in zip(both[0][0][g * n + i], both[1][0][g * h + j], strict=True)
                )
                for j in range(h)
            ]
            for i in range(n)
        ]
        for g in range(batch)
    ]
    request = Request(
        (batch, n, d, h), torch.device("cpu"), torch.float32, rounding, digits, block=block
    )
    widths = digits.a.bits, digits.b.bits
    name = "emulator" if "emulator" in backend else backend
    options = BACKENDS[backend]
    loaded = load_backend(name, **options, **({"bits": max(widths)} if options else {}))
    chosen = StrategyChoice(strategy, {})
    routes = [
        lambda: open_route(request, chosen, loaded.for_bits(*widths)),
        lambda: SimulatedRoute(request),
    ]
    too_large = any(abs(v) >= 2**62 for integers, _ in both for row in integers for v in row)
    for make in routes:
        if too_large:
            with pytest.raises(DataError):
                make().run(*tensors, Untimed())
            continue
        route = make()
        route.run(*tensors, Untimed())
        route.check()
        assert route.integers().tolist() == right
        assert route.counts().dense_macs == batch * n * d * h
        exponents = route.counts().scale_exponent
        for found, exponent, (_, expected) in zip(
            (route.scales().a, route.scales().b), (exponents.a, exponents.b), both, strict=True
        ):
            values = found.flatten().tolist()
            values = values * len(expected) if len(values) == 1 else values
            assert [Fraction(v) * Fraction(2) ** exponent for v in values] == expected


ONE = PerOperand.both(Rounding(100, 255, "tensor", "nonzero"))
EIGHT = PerOperand.both(DigitSystem("balanced", 8))


@given(cases())
@example(([[[[1e30, 1.0]]], [[[1.0, 1.0]]]], ONE, EIGHT, "int64", "row", None))
@example(
    (
        [[[[2.0**-149, 0.0]]], [[[1.0, 60.0]]]],
        PerOperand(Rounding(50, 15, "row", "nonzero"), Rounding(50, 4095, "row", "nonzero")),
        PerOperand(DigitSystem("paper", 2), DigitSystem("paper", 5)),
        "emulator",
        "optimal",
        None,
    )
)
@settings(max_examples=40)
def test_products_are_those_of_python(case):
    check(case)


@pytest.mark.slow
def test_products_are_those_of_python_for_two_minutes(say):
    assert search(cases(), check, 120, say)
