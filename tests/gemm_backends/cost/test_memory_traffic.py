"""Stalls, traffic and energy of an array with memories around it."""

import math

import numpy as np
import pytest
import walked
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import InputError
from gemm_backends import GemmSpec, UnpackWork, load_backend
from gemm_backends.cost import area, energy
from gemm_backends.cost.array import reference_area
from gemm_backends.cost.cycles import cycles
from gemm_backends.cost.memory import dram, sram
from gemm_backends.cost.options import memory_system
from gemm_backends.cost.tiling import Tiling, Widths
from gemm_backends.types import Tile

DATAFLOWS = ("output-stationary", "weight-stationary", "input-stationary")
SIZES = st.integers(1, 200)


def emulator(bits=8, memory="none", **options):
    return load_backend("emulator", bits=bits, memory=memory, array=[8, 4], **options)


def cost(n, d, h, bits=8, **options):
    return emulator(bits, **options).cost(GemmSpec(bits, bits, n, d, h))


def kb(size=64, speed=None, **more):
    return {"sram_kb": size, "bandwidth": {} if speed is None else {"dram": speed}, **more}


def test_without_a_memory_nothing_is_added():
    bare = cost(100, 64, 50)
    assert bare.stall_cycles is None
    assert bare.seconds is None
    assert bare.traffic == {}
    assert bare.energy_pj == pytest.approx(sum(bare.energy_by_pj.values()))
    assert emulator().unpack_cost(UnpackWork(9, 5, 7, 7, 7, 7)) == emulator().shift_add_cost(9)


def small_words(fits, speed=None):
    """Describe memories that hold all of an operand or nothing of it, for words of 1025 bytes."""
    size = {name: 8192 if fit else 2 for name, fit in zip("abc", fits, strict=True)}
    bandwidth = {} if speed is None else {"dram": speed * 1025}
    return memory_system({"sram_kb": size, "bandwidth": bandwidth})


def tiling(dataflow, n, d, h, shape, memory):
    rows, columns = shape
    tile = {
        "output-stationary": Tile(n=rows, h=columns),
        "weight-stationary": Tile(d=rows, h=columns),
        "input-stationary": Tile(d=rows, n=columns),
    }[dataflow]
    return Tiling(dataflow, tile, n, d, h, Widths(1025, 1025, 1025), memory)


SHAPES = st.sampled_from([(8, 4), (3, 5), (1, 1), (1, 7), (16, 2)])


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(DATAFLOWS),
    SHAPES,
    *[st.integers(1, 40)] * 3,
    st.tuples(*[st.booleans()] * 3),
    st.sampled_from([1, 2, 7, 32, 128]),
)
def test_stalls_are_those_of_double_buffers_that_are_played(dataflow, shape, n, d, h, fits, speed):
    """Unlike tiles at the edges: every sum of clocks is equal, to the last."""
    found = tiling(dataflow, n, d, h, shape, small_words(fits, speed))
    walk = walked.default(dataflow, n, d, h, shape, *fits)
    busy = cycles(dataflow, *shape, n, d, h, False)
    assert busy == sum(tile.clocks for tile in walk)
    exact = math.ceil(walked.played(walk, speed))
    assert busy + found.stalls(busy // len(walk)) == exact
    each = np.full(found.turns, busy // len(walk))
    assert busy + found.stalls(each) == exact


def test_the_play_is_not_that_of_tiles_that_are_alike():
    """If the last tiles were as large as the others, another time would come out."""
    n, d, h, shape = 17, 9, 9, (8, 4)
    edges = walked.default("output-stationary", n, d, h, shape, False, False, False)
    whole = walked.default("output-stationary", 24, d, 12, shape, False, False, False)
    assert len(edges) == len(whole)
    found = tiling("output-stationary", n, d, h, shape, small_words((False,) * 3, 2))
    played = math.ceil(walked.played(edges, 2))
    assert played == sum(tile.clocks for tile in edges) + found.stalls(19)
    assert walked.played(whole, 2) > played


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(DATAFLOWS),
    SHAPES,
    *[st.integers(1, 40)] * 3,
    st.tuples(*[st.booleans()] * 3),
    st.lists(st.integers(1, 200), min_size=1, max_size=40),
)
def test_tiles_that_take_unlike_clocks_are_played_too(dataflow, shape, n, d, h, fits, clocks):
    """As with correction lanes, for which no two tiles need to take the same time."""
    found = tiling(dataflow, n, d, h, shape, small_words(fits, 16))
    walk = walked.default(dataflow, n, d, h, shape, *fits)
    for i, tile in enumerate(walk):
        tile.clocks = clocks[i % len(clocks)]
    each = np.array([tile.clocks for tile in walk]).reshape(found.turns)
    assert each.sum() + found.stalls(each) == math.ceil(walked.played(walk, 16))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(DATAFLOWS), SHAPES, *[st.integers(1, 40)] * 3, st.tuples(*[st.booleans()] * 3)
)
def test_traffic_is_that_of_a_walk_over_all_tiles(dataflow, shape, n, d, h, fits):
    found, _ = tiling(dataflow, n, d, h, shape, small_words(fits)).moved()
    walk = walked.default(dataflow, n, d, h, shape, *fits)
    assert found.a == 1025 * sum(tile.a for tile in walk)
    assert found.b == 1025 * sum(tile.b for tile in walk)
    sums = sum(tile.passing + tile.behind for tile in walk)
    assert found.c_read + found.c_write == 1025 * sums
    assert found.c_write == found.c_read + 1025 * n * h


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(DATAFLOWS[1:]),
    st.sampled_from([(3, 17), (1, 5), (7, 2), (4, 4)]),
    *[st.integers(1, 60)] * 3,
    st.integers(2, 4),
    st.integers(1, 9),
    st.sampled_from([1, 3, 16]),
)
def test_trees_that_do_not_divide_a_k_block(dataflow, shape, n, d, h, tree, block, speed):
    """Rows take unlike numbers of products then, and tiles of d are unlike."""
    options = {"array": list(shape), "dataflow": dataflow, "tree": tree, "k_block": block}
    memory = kb({"a": 2, "b": 2, "c": 2}, speed, word_bits=32)
    found = load_backend("emulator", bits=8, memory=memory, **options).cost(GemmSpec(8, 8, n, d, h))
    of_k = walked.shares(d, shape[0], tree, block)
    assert [k for part in of_k for k in part] == list(range(d))
    is_held = [4 * words < 1024 for words in (n * d, h * d)]
    sums = n * min(h, shape[1]) if dataflow == "weight-stationary" else h * min(n, shape[1])
    walk = walked.default(dataflow, n, d, h, shape, *is_held, 4 * sums < 1024, of_k)
    assert found.cycles - found.stall_cycles == sum(tile.clocks for tile in walk)
    dram = found.traffic["dram"]
    assert dram["a"] == 4 * sum(tile.a for tile in walk)
    assert dram["b"] == 4 * sum(tile.b for tile in walk)
    assert dram["c_read"] + dram["c_write"] == 4 * sum(t.passing + t.behind for t in walk)
    assert found.cycles == math.ceil(walked.played(walk, walked.Fraction(speed, 4)))


def test_an_operand_stays_where_it_is_smaller_than_half_of_its_sram_and_not_at_half():
    """By hand: A is 64 x 128 digits of 8 bits, 8192 bytes; 5 column folds read it."""
    read = [
        cost(64, 128, 20, memory=kb({"a": size, "b": 64, "c": 64})).traffic["dram"]["a"]
        for size in (15, 16, 16.1)
    ]
    assert read == [5 * 8192, 5 * 8192, 8192]
    single = kb({"a": 8.1, "b": 64, "c": 64}, double_buffered=False)
    assert cost(64, 128, 20, memory=single).traffic["dram"]["a"] == 8192


def test_stalls_by_hand():
    """One tile of 8 x 16 x 4: 26 clocks; 192 bytes in, 128 bytes of sums out, 4 a clock."""
    whole = cost(8, 16, 4, memory=kb(speed=4))
    assert whole.stall_cycles == (8 * 16 + 4 * 16) / 4 + 8 * 4 * 4 / 4
    assert whole.cycles == 26 + whole.stall_cycles
    # Two tiles of n: the second one's 128 bytes of A and the first one's sums take 32 + 32 clocks,
    # of which 26 each are hidden behind computing.
    pair = cost(16, 16, 4, memory=kb(speed=4))
    assert pair.stall_cycles == 48 + (32 - 26) + (32 - 26) + 32
    alone = cost(16, 16, 4, memory=kb(speed=4, double_buffered=False))
    assert alone.stall_cycles == 48 + 32 + 32 + 32


def test_the_port_of_an_sram_stalls_an_array_that_it_cannot_feed():
    fast, slow = ({"sram_kb": 64, "bandwidth": {"sram": speed}} for speed in (8, 4))
    assert cost(8, 1000, 4, memory=fast).stall_cycles == 0
    assert cost(8, 1000, 4, memory=slow).stall_cycles == 2000 - (8 + 4 + 1000 - 2)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(DATAFLOWS), SIZES, SIZES, SIZES, st.sampled_from([2, 4, 16, 100]))
def test_more_bandwidth_never_stalls_more(dataflow, n, d, h, speed):
    for way in ({"dram": speed}, {"sram": speed}):
        faster = {name: 1.5 * value for name, value in way.items()}
        slow, fast = (
            cost(n, d, h, dataflow=dataflow, memory={"sram_kb": 2, "bandwidth": b})
            for b in (way, faster)
        )
        assert fast.stall_cycles <= slow.stall_cycles
    assert cost(n, d, h, dataflow=dataflow, memory={"sram_kb": 2}).stall_cycles == 0


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(DATAFLOWS), SIZES, SIZES, SIZES, st.sampled_from("abc"))
def test_more_sram_never_moves_more(dataflow, n, d, h, grown):
    sizes = dict.fromkeys("abc", 2)
    less, more = (
        cost(n, d, h, 16, dataflow=dataflow, memory=kb(size, 8))
        for size in (sizes, sizes | {grown: 40})
    )
    assert sum(more.traffic["dram"].values()) <= sum(less.traffic["dram"].values())
    assert more.stall_cycles <= less.stall_cycles


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(DATAFLOWS), SIZES, SIZES, SIZES, st.integers(2, 16))
def test_traffic_holds_what_must_move_and_b_bits_take_their_share(dataflow, n, d, h, bits):
    small, large = (
        cost(n, d, h, b, dataflow=dataflow, memory=kb(8192)).traffic["dram"] for b in (bits, 16)
    )
    for side, entries in (("a", n * d), ("b", h * d)):
        assert small[side] == large[side] * bits / 16 == entries * bits / 8
    assert small["c_write"] == n * h * 4
    tight = cost(n, d, h, bits, dataflow=dataflow, memory=kb(2)).traffic
    assert all(tight["dram"][name] >= small[name] for name in small)
    assert tight["sram"]["a"] >= n * d * bits / 8
    wide = cost(n, d, h, 16, dataflow=dataflow, memory=kb(2)).traffic
    assert tight["dram"]["a"] <= wide["dram"]["a"] * bits / 16


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(DATAFLOWS), SIZES, SIZES, SIZES, st.sampled_from([None, 4, 64]))
def test_cycles_are_at_least_the_work_and_energy_adds_up(dataflow, n, d, h, speed):
    memory = kb(16, speed, dram="lpddr4", frequency_mhz=500)
    found = cost(n, d, h, dataflow=dataflow, memory=memory)
    assert found.cycles >= n * d * h / found.peak_macs
    assert found.cycles - found.stall_cycles == cost(n, d, h, dataflow=dataflow).cycles
    assert found.seconds == pytest.approx(found.cycles / 500e6)
    assert found.energy_pj == pytest.approx(sum(found.energy_by_pj.values()))
    names = {"multiply", "accumulate", "sram", "dram", "leakage"}
    assert set(found.energy_by_pj) == names
    moved_bits = 8 * sum(found.traffic["dram"].values())
    assert found.energy_by_pj["dram"] == pytest.approx(8 * moved_bits)
    if speed is not None:
        assert found.cycles >= sum(found.traffic["dram"].values()) / speed


def test_unpacking_is_paid_for():
    """By hand: a pass over 4000 bytes, digits, maps, and 100 shift-adds outside of the SRAM."""
    backend = emulator(4, kb(2, 10))
    work = UnpackWork(100, 128, 4000, 1000, 500, 30)
    found = backend.unpack_cost(work)
    assert found.traffic["dram"] == {
        "a": 0,
        "b": 0,
        "c_read": 100 * (4 + 8),
        "c_write": 100 * 8,
        "front_end": 4000 + 1500 * 4 / 8,
        "maps": 2 * 4 * 30,
    }
    adding = 100 / 4
    assert found.stall_cycles == math.ceil(100 * 20 / 10 - adding + (4750 + 240) / 10)
    assert found.cycles == adding + found.stall_cycles
    assert found.energy_by_pj["shift_add"] == pytest.approx(100 * 0.2)
    inside = backend.unpack_cost(UnpackWork(100, 127, 4000, 1000, 500, 30))
    assert inside.traffic["dram"]["c_read"] == 0
    assert inside.traffic["sram"] == found.traffic["sram"]


def test_the_sram_has_an_area():
    bare, found = cost(8, 8, 8), cost(8, 8, 8, memory=kb(64))
    assert found.area_um2 == pytest.approx(
        3 * 187950 + bare.relative_area / found.relative_area * found.area_um2
    )
    assert "CACTI" in found.basis["relative_area"]


def test_energy_without_a_table_s_is_known_for_memory_alone():
    found = cost(8, 8, 8, bits=4, multiplier="mitchell", memory=kb(64))
    assert found.energy_pj is None
    assert set(found.energy_by_pj) == {"sram"}


def test_an_unpacker_takes_its_time_area_and_energy():
    work = UnpackWork(0, values=1000, operand_bytes=4000)
    plain, slow, fast = (emulator(4, kb(64, 100), unpacker=count) for count in (0, 2, 1000))
    assert plain.unpack_cost(work).stall_cycles == 40
    assert slow.unpack_cost(work).stall_cycles == 500
    assert fast.unpack_cost(work).stall_cycles == 40
    assert "unpacker" not in plain.unpack_cost(work).energy_by_pj
    each = energy.unpacker(4)
    assert slow.unpack_cost(work).energy_by_pj["unpacker"] == pytest.approx(1000 * each)
    found = [one.cost(GemmSpec(8, 8, 8, 8, 8)).relative_area for one in (plain, slow, fast)]
    assert found[2] - found[0] == pytest.approx(500 * (found[1] - found[0]))
    assert found[1] - found[0] == pytest.approx(
        2 * area.unpacker(4).value / reference_area(), rel=1e-6
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unpacker": -1, "memory": kb(64)}, "unpacker must be from 0 to 65536, got -1"),
        ({"unpacker": 65537, "memory": kb(64)}, "unpacker must be from 0 to 65536, got 65537"),
        ({"unpacker": 4}, "unpacker needs a memory"),
    ],
)
def test_an_unpacker_out_of_range_or_without_a_memory_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        load_backend("emulator", **options)


def test_sram_is_the_table_s_or_between_two_sizes_and_never_beyond():
    assert sram(64).read.energy_pj == 39.332
    assert sram(64).basis == "cited"
    between = sram(48)
    assert between.basis == "interpolated"
    assert sram(32).read.energy_pj < between.read.energy_pj < sram(64).read.energy_pj
    assert sram(64).energy_pj(16, 32) == pytest.approx(39.332 + 2 * 36.044)
    for size in (1, 33000):
        with pytest.raises(ValueError, match="an SRAM has from 2 to 32768 KB, got"):
            sram(size)


def test_dram_costs_by_the_bit():
    assert dram("ddr3").energy_pj(1, 1) == pytest.approx(16 * 70)


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        ("some", "option 'memory' of backend 'emulator' should be an object or should be 'none'"),
        ({}, "memory needs sram_kb, such as"),
        ({"sram_kb": {"a": 4, "b": 4}}, "memory.sram_kb needs a size for c"),
        ({"sram_kb": {"a": 1, "b": 4, "c": 4}}, r"memory.sram_kb.a: an SRAM has from 2 to 32768"),
        ({"sram_kb": "big"}, "memory.sram_kb must be a mapping of a, b, c"),
        ({"sram_kb": {"a": True, "b": 4, "c": 4}}, "memory.sram_kb.a must be a number of KB"),
        ({"sram_kb": 4, "sram_k": 3}, "unknown key of memory 'sram_k'; did you mean 'sram_kb'"),
        ({"sram_kb": 4, "bandwidth": 3}, "memory.bandwidth must be a mapping of dram, sram"),
        ({"sram_kb": 4, "bandwidth": {"dram": 0}}, "memory.bandwidth.dram must be a positive"),
        ({"sram_kb": 4, "bandwidth": {"dran": 1}}, "did you mean 'dram'"),
        ({"sram_kb": 4, "word_bits": 0}, "memory.word_bits must be an integer from 1 to 64"),
        ({"sram_kb": 4, "double_buffered": 1}, "memory.double_buffered must be true or false"),
        ({"sram_kb": 4, "frequency_mhz": -1}, "memory.frequency_mhz must be a positive number"),
        ({"sram_kb": 4, "dram": "ddr9"}, "unknown dram 'ddr9'; did you mean 'ddr3'"),
    ],
)
def test_wrong_memories(memory, message):
    with pytest.raises(InputError, match=message):
        emulator(memory=memory)


def test_stalls_of_nothing():
    assert cost(0, 8, 8, memory=kb(64, 4)).cycles == 0
