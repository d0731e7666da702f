"""Mappings: tiles that the memories hold, the order of the loops, and the search for the best."""

import itertools
import math
from contextlib import suppress

import pytest
import walked
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.errors import InputError
from gemm_backends import GemmSpec, load_backend
from gemm_backends.cost.mapping import ORDERS

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


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(SIZES, SIZES, SIZES),
    st.tuples(st.integers(1, 24), st.integers(1, 24), st.integers(1, 24)),
    st.sampled_from(ORDERS),
    st.sampled_from(DATAFLOWS),
)
def test_a_given_mapping_is_a_walk_over_its_tiles(shape, tile, order, dataflow):
    found = cost(*shape, tiled(*tile, order), dataflow=dataflow, memory={"word_bits": 8})
    walk = walked.mapped(dataflow, shape, tile, order, ARRAY)
    sums = sum(each.back for each in walk), sum(each.behind for each in walk)
    assert found.traffic["dram"] == {
        "a": sum(each.a for each in walk),
        "b": sum(each.b for each in walk),
        "c_read": sums[0],
        "c_write": sums[1],
    }
    assert sums[1] == sums[0] + shape[0] * shape[2]
    assert found.cycles - found.stall_cycles == sum(each.clocks for each in walk)
    assert found.cycles == math.ceil(walked.played(walk, 4))
    assert found.mapping["chosen"] == "given"
    assert all(
        found.traffic["sram"][name] >= found.traffic["dram"][name] for name in ("a", "b", "c_write")
    )


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
