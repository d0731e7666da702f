"""What the emulated array is said to cost: cycles, areas, energy."""

import json
import math

import numpy as np
import pytest

from accelsim.errors import InputError
from gemm_backends import GemmSpec, load_backend
from gemm_backends.cost import area, energy
from gemm_backends.cost.array import reference_area
from gemm_backends.cost.cycles import cycles


def emulator(**options):
    return load_backend("emulator", **options)


def played(rows, columns, n, k, h):
    """Play an output-stationary array clock by clock: digits of A move right, of B down."""
    clocks = 0
    for _ in range(0, n, rows):
        for _ in range(0, h, columns):
            left = {(i, j): k for i in range(rows) for j in range(columns)}
            clock = 0
            while any(left.values()):
                for i, j in left:
                    if clock >= i + j and left[i, j]:
                        left[i, j] -= 1
                clock += 1
            clocks += clock
    return clocks


@pytest.mark.parametrize(("n", "k", "h"), [(1, 1, 1), (4, 7, 3), (5, 9, 4), (12, 1, 7)])
def test_output_stationary_cycles_are_those_of_an_array_played_by_hand(n, k, h):
    assert cycles("output-stationary", 4, 3, n, k, h, drain=False) == played(4, 3, n, k, h)


@pytest.mark.parametrize(
    ("dataflow", "drain", "expected"),
    [
        ("output-stationary", False, 2 * 3 * (8 + 4 + 100 - 2)),
        ("output-stationary", True, 2 * 3 * (2 * 8 + 4 + 100 - 2)),
        ("weight-stationary", False, 13 * 3 * (2 * 8 + 4 + 16 - 2)),
        ("input-stationary", False, 13 * 4 * (2 * 8 + 4 + 9 - 2)),
    ],
)
def test_cycles_of_every_dataflow(dataflow, drain, expected):
    """By hand for 16 x 100 x 9 on an array of 8 x 4."""
    backend = emulator(bits=4, array=[8, 4], dataflow=dataflow, drain=drain)
    cost = backend.cost(GemmSpec(4, 4, 16, 100, 9))
    assert cost.cycles == expected
    assert cost.peak_macs == 32
    assert cost.basis["cycles"].startswith("computed: A. Samajdar et al.")
    assert dataflow in cost.model


def test_an_empty_product_takes_no_cycles():
    assert emulator(bits=4).cost(GemmSpec(4, 4, 16, 0, 16)).cycles == 0


def test_a_tree_takes_several_products_a_clock_and_starts_anew_in_every_block():
    backend = emulator(bits=4, array=[2, 2], tree=4, k_block=10, outer_bits=32)
    cost = backend.cost(GemmSpec(4, 4, 2, 25, 2))
    assert cost.cycles == 2 + 2 + (3 + 3 + 2) - 2
    assert cost.peak_macs == 16


def test_padding_is_executed():
    spec = GemmSpec(4, 4, 9, 10, 5)
    assert emulator(bits=4, array=[8, 4]).executed_macs(spec) == 16 * 10 * 8
    weights = emulator(bits=4, array=[8, 4], dataflow="weight-stationary")
    assert weights.executed_macs(spec) == 9 * 16 * 8
    inputs = emulator(bits=4, array=[8, 4], dataflow="input-stationary")
    assert inputs.executed_macs(spec) == 12 * 16 * 5


def test_every_column_has_a_shift_adder():
    assert emulator(bits=4, array=[8, 4]).shift_add_cost(9).cycles == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"array": [8]}, "array must be two numbers from 1 to 65536"),
        ({"array": [0, 8]}, "array must be two numbers from 1 to 65536"),
        ({"dataflow": "row-stationary"}, "'output-stationary', 'weight-stationary' or"),
        ({"dataflow": "weight-stationary", "drain": True}, "drain is for the output-stationary"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        emulator(**options)


def relative_area(**options):
    return emulator(**options).cost(GemmSpec(2, 2, 8, 8, 8))


def test_the_area_of_an_array_is_the_sum_of_its_parts_in_the_table():
    rows = json.loads(area.TABLE.read_text())["areas"]
    table = {(r["module"], *r["parameters"].values()): r["area"] for r in rows}

    def place(b, width):
        return (
            table["multiplier", b, b]
            + table["accumulator", 2 * b, width, 0]
            + (2 * b + 2) * table["skew", 1, 1]
        )

    cost = relative_area(bits=4, accumulator_bits=16, array=[32, 7])
    expected = (32 * 7 * place(4, 16) + 7 * table["shift_add", 16, 64]) / place(8, 32)
    assert cost.relative_area == pytest.approx(expected)
    assert cost.basis["relative_area"].startswith("measured: ")


def test_area_times_time_compares_arrays_of_different_sizes():
    """A large array that stands idle is not the cheaper one; on a large GEMM they are close."""

    def area_time(size, n):
        cost = emulator(bits=8, array=[size, size]).cost(GemmSpec(8, 8, n, 128, n))
        return cost.relative_area * cost.cycles

    small, large = (relative_area(bits=8, array=[s, s]).relative_area for s in (8, 128))
    assert 256 * 0.8 < large / small < 256
    assert area_time(128, 128) > 2 * area_time(8, 128)
    assert area_time(128, 8) > 100 * area_time(8, 8)


@pytest.mark.parametrize("saturate", ["wrap", "saturate"])
def test_areas_grow_with_every_width(saturate):
    areas = [relative_area(bits=b, overflow=saturate).relative_area for b in range(2, 17)]
    assert areas == sorted(areas)
    widths = [relative_area(bits=4, accumulator_bits=w).relative_area for w in range(8, 65, 4)]
    assert widths == sorted(widths)


def test_between_the_synthesized_widths_areas_are_interpolated_and_say_so():
    low, middle, high = (relative_area(bits=4, accumulator_bits=w) for w in (24, 28, 32))
    assert middle.relative_area == pytest.approx((low.relative_area + high.relative_area) / 2)
    assert middle.basis["relative_area"].startswith("interpolated: ")


def test_at_four_bits_the_accumulator_is_most_of_the_place():
    multiplier = area.multiplier(4, 4).value
    accumulator = area.accumulator(8, 32, False).value
    assert accumulator > 4 * multiplier


@pytest.mark.parametrize("b", range(2, 17))
def test_a_synthesized_mac_is_its_multiplier_and_its_accumulator(b):
    whole = area.load_table().exact("mac", {"A": b, "B": b, "W": 32, "SATURATE": 0})
    parts = area.multiplier(b, b).value + area.accumulator(2 * b, 32, False).value
    assert parts == pytest.approx(whole, rel=0.02)


@pytest.mark.parametrize("options", [{"tree": 5}, {"k_block": 64}, {"bits": [16, 3]}])
def test_trees_outer_accumulators_and_unequal_widths_have_an_area(options):
    plain = relative_area(bits=3).relative_area
    assert relative_area(**{"bits": 3, **options}).relative_area > plain


@pytest.mark.parametrize("options", [{"multiplier": "mitchell"}, {"unsigned": "a"}])
def test_what_was_not_synthesized_has_no_area_and_no_energy(options):
    cost = relative_area(bits=8, **options)
    assert cost.relative_area is None
    assert cost.energy_pj is None
    assert set(cost.basis) == {"cycles"}


def test_a_record_of_a_table_from_a_file_tells_it_from_others(tmp_path):
    np.save(tmp_path / "mine.npy", np.zeros((16, 16), int))
    model = relative_area(multiplier=str(tmp_path / "mine.npy")).model
    assert model.startswith("32x32 array, output-stationary, products from table mine.npy (sha256 ")


def test_an_area_beyond_the_table_is_an_error():
    with pytest.raises(LookupError, match="no adder with P around 49 was synthesized"):
        area.adder(49)


def test_energy_is_cited_or_interpolated_between_citations_and_never_beyond_them():
    cost = emulator(bits=8).cost(GemmSpec(8, 8, 2, 3, 4))
    assert cost.energy_pj == pytest.approx(24 * (0.2 + 0.1))
    assert cost.basis["energy"].startswith("cited: ")
    assert "Horowitz" in cost.basis["energy"]
    between = energy.multiply_accumulate(16, 16, 20)
    assert between.basis == "interpolated"
    exponent = math.log(3.1 / 0.2, 16)
    assert between.multiply == pytest.approx(0.2 * 4**exponent)
    assert between.accumulate == pytest.approx((0.03 + 0.1) / 2)
    for widths in ((8, 8, 33), (4, 4, 7), (33, 8, 32)):
        assert energy.multiply_accumulate(*widths) is None


def test_below_eight_bits_a_multiplication_is_what_its_netlist_switches():
    whole = energy.load_switching().total("multiplier", A=8, B=8)
    before = 0.0
    for bits in range(2, 9):
        found = energy.multiply_accumulate(bits, bits, 24)
        part = energy.load_switching().total("multiplier", A=bits, B=bits)
        assert found.multiply == pytest.approx(0.2 * part / whole)
        assert found.multiply > before
        before = found.multiply
        assert found.basis == "interpolated"
    assert found.multiply == pytest.approx(0.2)
    mixed = energy.multiply_accumulate(8, 4, 32)
    assert mixed.multiply == pytest.approx(
        math.sqrt(0.2 * 0.2 * energy.relative("multiplier", A=4, B=4))
    )
    said = emulator(bits=4).cost(GemmSpec(4, 4, 2, 3, 4)).basis["energy"]
    assert "measured, switching of synthesized netlists on real digits in 180 nm" in said
    with pytest.raises(LookupError, match="no multiplier with"):
        energy.relative("multiplier", A=9, B=9)


def test_lanes_have_an_area_and_make_every_place_larger():
    places, bits, width = 16, 4, 24
    options = {"bits": bits, "accumulator_bits": width, "array": [4, 4]}
    plain = relative_area(**options).relative_area
    one, few, all_ = (
        relative_area(**options, correction_lanes=count).relative_area for count in (1, 4, 16)
    )
    assert plain < one < few < all_
    table = area.load_table()
    reference = reference_area()
    place = {"P": 8, "W": width, "UNIT": bits}
    more = (
        table.exact("corrected_accumulator", place)
        - table.area("accumulator", P=8, W=width, SATURATE=0).value
    )
    assert few - plain > places * (more - area.register_bit().value) / reference
    lane = table.exact("lane", {"B": bits, "W": width, "UNIT": bits})
    assert all_ - few > 12 * lane / reference
    assert (
        relative_area(**{**options, "accumulator_bits": 8}, correction_lanes=4).relative_area
        is None
    )
