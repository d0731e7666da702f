"""Mappings: tiles that the memories hold, the order of the loops, and the search for the best."""

import itertools
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import InputError
from gemm_backends import GemmSpec, load_backend
from gemm_backends.cost.mapping import DIMENSIONS, ORDERS

DATAFLOWS = ("output-stationary", "weight-stationary", "input-stationary")
SIZES = st.integers(1, 70)
ARRAY = (8, 4)


def cost(n, d, h, mapping="default", bits=8, **options):
    memory = {
        "sram_kb": 2,
        "bandwidth": {"dram": 4},
        "frequency_mhz": 1000,
        "dram": "lpddr4",
    } | options.pop("memory", {})
    backend = load_backend(
        "emulator", bits=bits, array=list(ARRAY), memory=memory | {"mapping": mapping}, **options
    )
    return backend.cost(GemmSpec(bits, bits, n, d, h))


def tiled(n, d, h, order):
    return {"tile": {"n": n, "d": d, "h": h}, "order": list(order)}


def walked(shape, tile, order, dataflow):
    """Walk over the tiles one by one, with sets for what each SRAM has: words moved, and clocks."""
    rows, columns = ARRAY
    steps = {
        name: [range(i, min(i + size, whole)) for i in range(0, whole, size)]
        for name, whole, size in zip(DIMENSIONS, shape, tile, strict=True)
    }
    held = {"a": None, "b": None, "c": None}
    finished = {}
    words = dict.fromkeys(("a", "b", "c_read", "c_write"), 0)
    clocks = 0
    for turn in itertools.product(*(steps[name] for name in order)):
        at = dict(zip(order, turn, strict=True))
        n, d, h = (at[name] for name in DIMENSIONS)
        for operand, part in (("a", (n, d)), ("b", (h, d))):
            if held[operand] != part:
                words[operand] += len(part[0]) * len(part[1])
                held[operand] = part
        if held["c"] != (n, h):
            if held["c"] is not None:
                words["c_write"] += len(held["c"][0]) * len(held["c"][1])
            if finished.get((n, h)):
                words["c_read"] += len(n) * len(h)
            held["c"] = n, h
        finished[n, h] = finished.get((n, h), 0) + len(d)
        if dataflow == "output-stationary":
            down, across, streamed, load = len(n), len(h), len(d), 0
        elif dataflow == "weight-stationary":
            down, across, streamed, load = len(d), len(h), len(n), rows
        else:
            down, across, streamed, load = len(d), len(n), len(h), rows
        for _ in itertools.product(range(0, down, rows), range(0, across, columns)):
            clocks += load + rows + columns + streamed - 2
    words["c_write"] += len(held["c"][0]) * len(held["c"][1])
    assert set(finished.values()) == {shape[1]}
    return words, clocks


@settings(max_examples=80, deadline=None)
@given(
    st.tuples(SIZES, SIZES, SIZES),
    st.tuples(st.integers(1, 24), st.integers(1, 24), st.integers(1, 24)),
    st.sampled_from(ORDERS),
    st.sampled_from(DATAFLOWS),
)
def test_a_given_mapping_moves_what_a_walk_over_its_tiles_moves(shape, tile, order, dataflow):
    found = cost(*shape, tiled(*tile, order), dataflow=dataflow, memory={"word_bits": 8})
    words, clocks = walked(shape, tile, order, dataflow)
    assert found.traffic["dram"] == words
    assert found.cycles - found.stall_cycles == clocks
    assert found.mapping["chosen"] == "given"
    assert found.cycles >= sum(words.values()) / 4
    assert all(found.traffic["sram"][name] >= words[name] for name in ("a", "b", "c_write"))


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES, SIZES, st.sampled_from(DATAFLOWS), st.sampled_from([2, 3, 8, 64]))
def test_the_chosen_mapping_is_never_worse_than_the_default(n, d, h, dataflow, kilobytes):
    memory = {"sram_kb": kilobytes}
    usual = cost(n, d, h, dataflow=dataflow, memory=memory)
    fast = cost(n, d, h, {"search": "cycles"}, dataflow=dataflow, memory=memory)
    frugal = cost(n, d, h, {"search": "energy"}, dataflow=dataflow, memory=memory)
    assert fast.cycles <= min(usual.cycles, frugal.cycles)
    assert frugal.energy_pj <= min(usual.energy_pj, fast.energy_pj) * (1 + 1e-12)


def every_mapping(shape, dataflow, memory):
    """Evaluate each tile of whole tiles of the array in each order, one at a time."""
    rows, columns = ARRAY
    grain = {
        "output-stationary": (rows, 1, columns),
        "weight-stationary": (1, rows, columns),
        "input-stationary": (columns, rows, 1),
    }[dataflow]
    ranges = (
        sorted({min(size * g, whole) for size in range(1, -(-whole // g) + 1)})
        for whole, g in zip(shape, grain, strict=True)
    )
    for tile in itertools.product(*ranges):
        for order in ORDERS:
            with suppress(InputError):  # the SRAM does not hold the tile
                yield cost(*shape, tiled(*tile, order), dataflow=dataflow, memory=memory)


@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize("shape", [(13, 14, 12), (16, 9, 7), (5, 16, 16)])
def test_the_search_is_exhaustive_on_small_gemms(dataflow, shape):
    memory = {"sram_kb": 2, "word_bits": 32}
    every = [
        *every_mapping(shape, dataflow, memory),
        cost(*shape, dataflow=dataflow, memory=memory),
    ]
    assert len(every) > 50
    fast = cost(*shape, {"search": "cycles"}, dataflow=dataflow, memory=memory)
    frugal = cost(*shape, {"search": "energy"}, dataflow=dataflow, memory=memory)
    assert fast.cycles == min(each.cycles for each in every)
    assert frugal.energy_pj == pytest.approx(min(each.energy_pj for each in every))
    assert len({each.cycles for each in every}) > 5, "mappings differ"


def test_a_search_says_what_it_chose_and_from_how_many():
    found = cost(2048, 4096, 4096, {"search": "energy"}, memory={"sram_kb": 64})
    usual = cost(2048, 4096, 4096, memory={"sram_kb": 64})
    assert found.energy_pj < usual.energy_pj / 2
    again = cost(
        2048,
        4096,
        4096,
        {name: found.mapping[name] for name in ("tile", "order")},
        memory={"sram_kb": 64},
    )
    assert again.traffic == found.traffic
    assert again.cycles == found.cycles
    assert found.mapping["chosen"].startswith("the least energy of ")
    assert int(found.mapping["chosen"].split()[-1]) > 1000


def test_stalls_by_hand():
    """Two tiles along d of 8 x 16 x 4 stay in one place: 26 clocks each, 4 bytes a clock."""
    found = cost(8, 32, 4, tiled(8, 16, 4, "nhd"), memory={"word_bits": 8})
    load, store = (8 * 16 + 4 * 16) / 4, 8 * 4 / 4
    assert found.stall_cycles == load + (load - 26) + store
    single = {"word_bits": 8, "double_buffered": False}
    alone = cost(8, 32, 4, tiled(8, 16, 4, "nhd"), memory=single)
    assert alone.stall_cycles == 2 * load + store


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_stalls_are_near_a_play_of_the_tiles(dataflow):
    """Tile by tile with one DRAM: the loads of the next and the stores of the one before."""
    draw = Random(1)
    off = []
    for _ in range(60):
        shape = [draw.randint(20, 200) for _ in range(3)]
        tile = [draw.choice([8, 16, 24]) for _ in range(3)]
        order = draw.choice(ORDERS)
        found = cost(*shape, tiled(*tile, order), dataflow=dataflow, memory={"word_bits": 8})
        busy = found.cycles - found.stall_cycles
        least = max(busy, sum(found.traffic["dram"].values()) / 4)
        off.append(found.cycles / least)
    assert min(off) >= 1
    assert sorted(off)[len(off) // 2] < 1.15


def test_an_sram_that_holds_just_the_tile():
    """1024 of 2 KB are filled while the others are in use: 8 x 128 bytes of A fit, 129 do not."""
    cost(8, 200, 4, tiled(8, 128, 4, "nhd"))
    with pytest.raises(InputError, match=r"1032 bytes of A do not fit .* room for 1024") as error:
        cost(8, 200, 4, tiled(8, 129, 4, "nhd"))
    assert error.value.inside == ("mapping", "tile")
    cost(8, 200, 4, tiled(8, 256, 4, "nhd"), bits=4)


def test_an_array_too_large_for_its_memory_keeps_the_default():
    options = {"array": [64, 64], "dataflow": "weight-stationary"}
    memory = {"sram_kb": 2, "bandwidth": {"dram": 4}, "mapping": {"search": "cycles"}}
    backend = load_backend("emulator", bits=8, memory=memory, **options)
    found = backend.cost(GemmSpec(8, 8, 64, 64, 64))
    assert found.mapping == {"chosen": "default: its memories hold no tile"}


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        ({"mapping": "best"}, "memory.mapping must be default, a search such as"),
        ({"mapping": {"search": "cycle"}}, "unknown memory.mapping.search 'cycle'; did you mean"),
        ({"mapping": {"search": "cycles", "tile": {}}}, "unknown key of memory.mapping 'tile'"),
        ({"mapping": {"tile": {"n": 1, "d": 1, "h": 1}}}, "memory.mapping needs order"),
        ({"mapping": tiled(0, 1, 1, "nhd")}, "memory.mapping.tile.n must be a whole number"),
        ({"mapping": tiled(1, 1, 1, "nnd")}, "memory.mapping.order must be n, d and h"),
        ({"mapping": {"search": "energy"}, "dram": None}, "energy needs memory.dram"),
        ({"prefetch": "ahead"}, "unknown memory.prefetch 'ahead'"),
        ({"prefetch": "scalesim"}, "needs word_bits"),
        ({"prefetch": "scalesim", "word_bits": 8}, "must be a multiple of three words of 8 bits"),
        ({"prefetch": "scalesim", "word_bits": 8, "bandwidth": {}}, "needs bandwidth.dram"),
        (
            {"prefetch": "scalesim", "word_bits": 8, "double_buffered": False},
            "needs double_buffered: true",
        ),
    ],
)
def test_wrong_mappings(memory, message):
    mapping = memory.pop("mapping", "default")
    with pytest.raises(InputError, match=message):
        cost(8, 8, 8, mapping, memory=memory)


def test_scalesim_has_no_drain_and_no_mapping():
    memory = {"prefetch": "scalesim", "word_bits": 8, "bandwidth": {"dram": 12}}
    assert cost(8, 8, 8, memory=memory).cycles > 0
    with pytest.raises(InputError, match="without drain, tree and k_block"):
        cost(8, 8, 8, memory=memory, drain=True)
    with pytest.raises(InputError, match="needs no mapping"):
        cost(8, 8, 8, {"search": "cycles"}, memory=memory)
