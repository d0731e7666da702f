"""What a model predicts for an unpacked GEMM: products, shift-adds and the pass over operands."""

import pytest
import torch

from accelsim.arithmetic.rounding import quantize
from accelsim.routes.cost import modelled, unpack_work
from accelsim.routes.execute import schedule
from accelsim.types import PerOperand
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy
from gemm_backends import GemmSpec, UnpackWork, load_backend

N, D, H = 24, 64, 16
SYSTEM = DigitSystem("balanced", 4)
MEMORY = {
    "sram_kb": 2, "bandwidth": {"dram": 8}, "frequency_mhz": 500, "dram": "lpddr4",
}  # fmt: skip


def problem(heavy, backend):
    generator = torch.Generator().manual_seed(1)
    a, b = (2 * torch.rand(rows, D, generator=generator) - 1 for rows in (N, H))
    for row in range(heavy):
        a[row, row] = 8.0
    operands = [IntegerOperand(quantize(x, 95, 13, name="x"), SYSTEM, False) for x in (a, b)]
    found = load_strategy("row").unpack(*operands)
    return schedule(found, backend, PerOperand.both(SYSTEM), "auto")


@pytest.fixture
def backend():
    return load_backend("emulator", bits=4, array=[8, 8], memory=MEMORY)


def test_all_parts_are_summed(backend):
    scheduled = problem(3, backend)
    found = modelled(backend, PerOperand.both(SYSTEM), scheduled, float_bytes=2)
    products = [backend.cost(GemmSpec(4, 4, *p.a.shape, p.b.shape[0])) for p in scheduled.products]
    work = unpack_work(scheduled, 2)
    around = backend.unpack_cost(work)
    assert work.shift_adds == scheduled.shift_adds > 0
    assert work.operand_bytes == 2 * D * (N + H)
    assert found["cycles"] == sum(cost.cycles for cost in (*products, around))
    assert found["stall_cycles"] == sum(cost.stall_cycles for cost in (*products, around)) > 0
    assert found["shift_add_cycles"] == -(-scheduled.shift_adds // 8)
    parts = ("compute_cycles", "shift_add_cycles", "stall_cycles")
    assert found["cycles"] == sum(found[part] for part in parts)
    assert found["seconds"] == pytest.approx(found["cycles"] / 500e6)
    digits = sum(p.a.numel() for p in scheduled.products)
    assert found["traffic"]["dram"]["a"] >= digits / 2
    assert (
        found["traffic"]["dram"]["front_end"]
        == work.operand_bytes + (work.digits_a + work.digits_b) / 2
    )
    dram_bits = 8 * sum(found["traffic"]["dram"].values())
    assert found["energy_by"]["dram"] == pytest.approx(8e-12 * dram_bits)
    assert found["energy_by"]["shift_add"] == pytest.approx(0.2e-12 * scheduled.shift_adds)
    assert found["energy"] == pytest.approx(sum(found["energy_by"].values()))
    array = {"multiply", "accumulate", "shift_add"}
    assert set(found["energy_by"]) == {"sram", "dram", "leakage", *array}


def test_only_lines_that_go_elsewhere_have_a_map(backend):
    assert unpack_work(problem(0, backend), 4).mapped_lines == 0
    heavy = problem(3, backend)
    extra = sum(p.a.shape[0] for p in heavy.products) - N
    assert extra == 3
    assert unpack_work(heavy, 4).mapped_lines >= extra


def test_digits_that_products_share_are_written_once(backend):
    heavy = problem(3, backend)
    first = heavy.products[0]
    twice = type(heavy)(**{**vars(heavy), "products": [first, first]})
    assert unpack_work(twice, 4).digits_a == first.a.numel()


def test_without_a_memory_figures_are_those_of_the_array():
    backend = load_backend("emulator", bits=4, array=[8, 8])
    found = modelled(backend, PerOperand.both(SYSTEM), problem(3, backend))
    assert found["stall_cycles"] is None
    assert found["seconds"] is None
    assert found["traffic"] == {}
    assert found["cycles"] == found["compute_cycles"] + found["shift_add_cycles"]


def test_a_class_written_for_the_first_api_is_asked_for_shift_adds():
    class Old(type(load_backend("emulator"))):
        name = "old"
        api_version = "1.0"

        def unpack_cost(self):  # a name of the author's own
            raise AssertionError

    backend = Old(bits=4, array=[8, 8])
    scheduled = problem(3, backend)
    found = modelled(backend, PerOperand.both(SYSTEM), scheduled)
    assert found["shift_add_cycles"] == backend.shift_add_cost(scheduled.shift_adds).cycles
    assert UnpackWork(1).sums == 0


def test_the_pass_over_a_prepared_operand_is_not_in_the_cost(backend):
    scheduled = problem(3, backend)
    both, alone = unpack_work(scheduled, 4), unpack_work(scheduled, 4, ("b",))
    assert alone.operand_bytes == 4 * N * D
    assert alone.digits_b == 0 < both.digits_b
    assert alone.digits_a == both.digits_a
    found = modelled(backend, PerOperand.both(SYSTEM), scheduled, 4, ("b",))
    assert found["traffic"]["dram"]["front_end"] == 4 * N * D + both.digits_a / 2


def test_the_place_on_the_roofline(backend):
    scheduled = problem(3, backend)
    found = modelled(backend, PerOperand.both(SYSTEM), scheduled, 4)
    place = found["roofline"]
    moved = sum(found["traffic"]["dram"].values())
    assert place["intensity"] == scheduled.low_bit_macs / moved
    assert place["bound"] == "dram"
    assert place["attainable"] == place["intensity"] * 8 < 64
    assert place["achieved"] <= place["attainable"]
    wide = load_backend("emulator", bits=4, array=[8, 8], memory=MEMORY | {"bandwidth": {}})
    place = modelled(wide, PerOperand.both(SYSTEM), scheduled, 4)["roofline"]
    assert (place["bound"], place["attainable"]) == ("compute", 64)
    assert (
        modelled(load_backend("emulator", bits=4), PerOperand.both(SYSTEM), scheduled)["roofline"]
        is None
    )


def test_the_mapping_is_that_of_the_largest_product():
    mapping = {"search": "cycles"}
    backend = load_backend("emulator", bits=4, array=[8, 8], memory=MEMORY | {"mapping": mapping})
    scheduled = problem(3, backend)
    found = modelled(backend, PerOperand.both(SYSTEM), scheduled)
    largest = max(scheduled.products, key=lambda product: product.macs)
    spec = GemmSpec(4, 4, *largest.a.shape, largest.b.shape[0])
    assert found["mapping"] == backend.cost(spec).mapping
    assert "the least cycles of " in found["mapping"]["chosen"]
