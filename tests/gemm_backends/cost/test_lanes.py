"""Correction lanes: their clocks against a plain loop, and what must hold whatever the digits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.arithmetic.sparse import SparseDigits
from accelsim.errors import InputError
from gemm_backends import Corrections, GemmSpec, HighDigits, UnpackWork, load_backend
from gemm_backends.cost import energy
from gemm_backends.cost.lanes import Lanes


def high(values, levels=1, bits=4):
    """Make every level of ``[levels, rows, d]`` digits lines of their own, where it has any."""
    found = []
    for level, digits in enumerate(values.reshape(levels, *values.shape[-2:])):
        for row in range(len(digits)):
            if digits[row].any():
                found.append((digits[row], row, bits * (level + 1)))
    d = values.shape[-1]
    lines = torch.stack([line for line, _, _ in found]) if found else values.new_zeros((0, d))
    rows, columns = lines.nonzero(as_tuple=True)
    sparse = SparseDigits.from_entries(
        rows, columns, lines[rows, columns].to(torch.int8), lines.shape
    )
    index = torch.tensor([row for _, row, _ in found], dtype=torch.int64)
    return HighDigits(
        sparse, index, torch.tensor([power for *_, power in found], dtype=torch.int64)
    )


def drawn(seed, n, d, h, density, levels=2):
    generator = torch.Generator().manual_seed(seed)

    def digits(rows):
        values = torch.randint(-8, 8, (levels, rows, d), generator=generator)
        kept = torch.rand((levels, rows, d), generator=generator) < density
        return values * kept

    return Corrections(high(digits(n), levels), high(digits(h), levels))


def counted(count, rows, columns, n, h, corrections):
    """Count clocks tile by tile and bank by bank, digit by digit."""

    def entries(side):
        of = side.digits
        return [
            (int(side.index[line]), int(of.columns[e]))
            for line in range(len(side.index))
            for e in range(of.starts[line], of.starts[line + 1])
        ]

    def banks(across, down):
        most = 1
        while 2 * most * across <= count and 2 * most <= down:
            most *= 2
        return most

    in_a, in_b = entries(corrections.a), entries(corrections.b)
    tiles = []
    for top in range(0, n, rows):
        line = []
        for left in range(0, h, columns):
            height, width = min(rows, n - top), min(columns, h - left)
            mine = [(i - top, k) for i, k in in_a if top <= i < top + height]
            theirs = [(j - left, k) for j, k in in_b if left <= j < left + width]
            of_a, of_b = [0] * banks(columns, rows), [0] * banks(rows, columns)
            for i, k in mine:
                of_a[i % len(of_a)] += -(-width // min(count, columns))
                of_a[i % len(of_a)] += sum(k == other for _, other in theirs)
            for j, _ in theirs:
                of_b[j % len(of_b)] += -(-height // min(count, rows))
            line.append(max(of_a) + max(of_b))
        tiles.append(line)
    return tiles


SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(1, 9))
ARRAYS = st.tuples(st.integers(1, 5), st.integers(1, 5))


@given(SHAPES, ARRAYS, st.integers(0, 100), st.sampled_from([0.0, 0.1, 0.6]), st.data())
def test_clocks_are_those_of_a_plain_loop(shape, array, seed, density, data):
    n, d, h = shape
    count = data.draw(st.integers(1, array[0] * array[1]))
    corrections = drawn(seed, n, d, h, density)
    found = Lanes(count, *array).clocks(n, h, corrections)
    assert found.tolist() == counted(count, *array, n, h, corrections)


@settings(max_examples=20)
@given(SHAPES, ARRAYS, st.integers(0, 100), st.sampled_from([0.1, 0.6]))
def test_more_lanes_are_never_slower_and_none_beats_the_array(shape, array, seed, density):
    n, d, h = shape
    corrections, spec = drawn(seed, n, d, h, density), GemmSpec(4, 4, n, d, h)
    alone = load_backend("emulator", bits=4, array=array).cost(spec).cycles
    before = float("inf")
    for count in range(1, array[0] * array[1] + 1):
        backend = load_backend("emulator", bits=4, array=array, correction_lanes=count)
        found = backend.corrected_cost(spec, corrections).cycles
        busy = int(Lanes(count, *array).clocks(n, h, corrections).sum())
        assert max(alone, busy) <= found <= alone + busy
        assert found <= before
        before = found


@given(SHAPES, ARRAYS, st.integers(0, 100), st.sampled_from([0.1, 0.6, 1.0]), st.data())
def test_a_row_of_lanes_beats_the_array_alone_on_the_digits_of_one_operand(
    shape, array, seed, density, data
):
    n, d, h = shape
    corrections = drawn(seed, n, d, h, density, levels=1)
    one = Corrections(corrections.a, high(torch.zeros((1, h, d), dtype=torch.int64)))
    count = data.draw(st.integers(array[1], array[0] * array[1]))
    with_lanes = load_backend("emulator", bits=4, array=array, correction_lanes=count)
    without = load_backend("emulator", bits=4, array=array)
    spec = GemmSpec(4, 4, n, d, h)
    in_column = one.a.digits.columns.bincount(minlength=d).tolist()
    products = [without.cost(GemmSpec(4, 4, m, 1, h)).cycles for m in in_column if m]
    in_turn = without.cost(spec).cycles + sum(products)
    assert with_lanes.corrected_cost(spec, one).cycles <= in_turn


def test_lanes_add_to_what_is_multiplied_in_a_clock():
    backend = load_backend("emulator", bits=4, array=[16, 16], correction_lanes=256)
    assert backend.cost(GemmSpec(4, 4, 32, 256, 32)).peak_macs == 16 * 16 + 256


def test_multiplications_add_up():
    corrections = drawn(3, 6, 10, 5, 0.4)
    x, y = (side.digits.to_dense() != 0 for side in (corrections.a, corrections.b))
    pairs = int((x.long() @ y.long().T).sum())
    assert corrections.pairs == pairs > 0
    assert corrections.macs(6, 5) == int(x.sum()) * 5 + int(y.sum()) * 6 + pairs


MEMORY = {"sram_kb": 16, "bandwidth": {"dram": 4}, "frequency_mhz": 500, "dram": "lpddr4"}


@pytest.mark.parametrize("density", [0.0, 0.05])
def test_energy_adds_up_and_traffic_holds_the_lists(density):
    backend = load_backend("emulator", bits=8, array=[4, 4], memory=MEMORY, correction_lanes=4)
    spec, corrections = GemmSpec(8, 8, 20, 30, 10), drawn(0, 20, 30, 10, density)
    found, plain = backend.corrected_cost(spec, corrections), backend.cost(spec)
    entries = corrections.a.digits.entries, corrections.b.digits.entries
    assert bool(entries[0]) is bool(density)
    assert found.energy_pj == pytest.approx(sum(found.energy_by_pj.values()))
    macs, more = 20 * 30 * 10, energy.corrected(8, 32)
    assert found.energy_by_pj["multiply"] == pytest.approx(0.2 * macs)
    assert found.energy_by_pj["accumulate"] == pytest.approx(0.1 * more * macs)
    each = energy.lane(8, 32) + 0.1 * more
    assert found.energy_by_pj["lanes"] == pytest.approx(each * corrections.macs(20, 10))
    assert found.traffic["dram"]["a"] == pytest.approx(plain.traffic["dram"]["a"] + 5 * entries[0])
    assert found.traffic["dram"]["b"] == pytest.approx(plain.traffic["dram"]["b"] + 5 * entries[1])
    assert found.traffic["dram"]["a"] >= 20 * 30
    assert found.traffic["sram"]["b"] >= plain.traffic["sram"]["b"] + 10 * entries[0]
    around = backend.unpack_cost(UnpackWork(0, entries=sum(entries)))
    assert around.traffic["dram"]["front_end"] == 5 * sum(entries)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"correction_lanes": -1}, r"from 0 \(none\) to 16, the places of the array, got -1"),
        ({"correction_lanes": 17}, r"from 0 \(none\) to 16, the places of the array, got 17"),
        ({"dataflow": "weight-stationary"}, "an output-stationary array, got weight-stationary"),
        ({"overflow": "saturate"}, "accumulators that wrap, got saturate"),
        ({"tree": 2}, "one product at a time, got tree 2"),
        ({"k_block": 8}, "one accumulator in a place, got k_block 8"),
        ({"multiplier": "mitchell", "bits": 4}, "an exact multiplier, got mitchell"),
        ({"unsigned": "a"}, "signed operands, got unsigned"),
    ],
)
def test_what_lanes_cannot_stand_beside_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        load_backend("emulator", **{"array": [4, 4], "correction_lanes": 4, **options})
