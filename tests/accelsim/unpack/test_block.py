"""Block unpacking: where the corrections run, and what they count."""

import numpy as np
import pytest
import torch

from accelsim.arithmetic.oracle import compare, oracle
from accelsim.arithmetic.sparse import SparseDigits
from accelsim.measure.timing import StageTimer
from accelsim.routes.execute import execute, schedule
from accelsim.types import PerOperand
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy, pack
from accelsim.unpack.blocks import _fill_up
from gemm_backends import load_backend

SYSTEM = DigitSystem("balanced", 4)


def operands(n=20, d=50, h=17, heavy=0.05, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def one(rows):
        values = torch.randint(-8, 8, (rows, d), generator=generator)
        large = torch.rand(rows, d, generator=generator) < heavy
        return torch.where(large, values * 20 + 9, values).int()

    return one(n), one(h)


def unpacked(a, b, block):
    strategy = load_strategy("block", block)
    return strategy.unpack(IntegerOperand(a, SYSTEM), IntegerOperand(b, SYSTEM))


def test_blocks_have_32_columns_unless_told_otherwise():
    pair = [IntegerOperand(x, SYSTEM) for x in operands(n=40, d=99, h=40, heavy=0.02)]
    macs = [load_strategy("block", block).unpack(*pair).low_bit_macs for block in (32, 31, 33)]
    assert load_strategy("block").unpack(*pair).low_bit_macs == macs[0]
    assert len(set(macs)) == 3


@pytest.mark.parametrize("name", ["emulator", "cpu-int8", "int64"])
@pytest.mark.parametrize("block", [1, 2, 7, 16, 64])
def test_every_backend_gives_the_product_exactly(name, block):
    a, b = operands()
    problem = unpacked(a, b, block)
    backend = load_backend(name).for_bits(4, 4)
    scheduled = schedule(problem, backend, PerOperand.both(SYSTEM), "auto")
    timer = StageTimer()
    with timer.repeat():
        done = execute(scheduled, backend, timer, watch_overflow=False, wide=False)
    assert compare(done.result, oracle(a, b)[None]).exact
    assert scheduled.low_bit_macs == problem.low_bit_macs


@pytest.mark.parametrize("digits", ["paper", "balanced"])
@pytest.mark.parametrize("bits", [2, 3, 5, 8, 11, 16])
@pytest.mark.parametrize("strategy", ["block(block=1)", "block(block=7)", "optimal"])
def test_batches_are_exact_in_both_systems_at_every_width(strategy, bits, digits):
    generator = torch.Generator().manual_seed(bits)
    low, heavy = -(1 << (bits - 1)) + 1, 1 << (bits + 3)
    a, b = (
        torch.where(
            torch.rand(2, rows, 40, generator=generator) < 0.05,
            torch.randint(-heavy, heavy, (2, rows, 40), generator=generator),
            torch.randint(low, -low, (2, rows, 40), generator=generator),
        ).int()
        for rows in (24, 18)
    )
    system = DigitSystem(digits, bits)
    problem = load_strategy(strategy).unpack(IntegerOperand(a, system), IntegerOperand(b, system))
    assert problem.strategy_chosen.split("(")[0] == strategy.split("(")[0]
    results = []
    for product in problem.products:
        x, y = (p.to_dense() if isinstance(p, SparseDigits) else p for p in (product.a, product.b))
        assert not system.out_of_bound(torch.cat([x, y])).any()
        results.append(x.long() @ y.long().T)
    assert torch.equal(pack(problem, results), oracle(a, b))


def test_single_entries_are_multiplied_once_for_each_row_of_the_other_operand():
    a, b = torch.zeros(5, 6, dtype=torch.int32), torch.ones(7, 6, dtype=torch.int32)
    a[1, 2], a[4, 2], a[4, 3] = 1000, 9, -9
    b[3, 2] = 100
    problem = unpacked(a, b, 1)
    digits_of_1000, others_of_a, one_of_b = 3 - 1, 2, 1
    in_a = digits_of_1000 + others_of_a
    both_heavy = 3
    assert problem.low_bit_macs == 5 * 6 * 7 + in_a * 7 + 5 * one_of_b + both_heavy
    assert problem.sparse_macs == problem.low_bit_macs - problem.dense_macs


def test_a_backend_without_a_sparse_product_runs_the_corrections_itself():
    a, b = operands()
    emulator, int64 = load_backend("emulator").for_bits(4, 4), load_backend("int64")
    problem, systems = unpacked(a, b, 1), PerOperand.both(SYSTEM)
    assert problem.sparse_macs > 0
    dense = schedule(problem, emulator, systems, "auto")
    assert dense.sparse_macs == 0
    assert all(isinstance(x, torch.Tensor) for p in dense.products for x in (p.a, p.b))
    assert dense.low_bit_macs == problem.low_bit_macs
    assert schedule(problem, int64, systems, "auto").products == problem.products


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_sparse_sums_are_cut_where_they_could_overflow(longest):
    a, b = torch.zeros(3, 40, dtype=torch.int32), torch.full((2, 40), -8, dtype=torch.int32)
    a[1, 4:30:5] = -8 * 16
    problem = unpacked(a, b, 1)
    backend = load_backend("int64")
    backend.accumulator = type(backend.accumulator)(bits=longest.bit_length() + 7, overflow="wrap")
    scheduled = schedule(problem, backend, PerOperand.both(SYSTEM), "auto")
    sparse = [p for p in scheduled.products if p.is_sparse]
    limit = backend.accumulator.maximum // 64
    assert all(p.longest_sum <= limit for p in sparse)
    assert sum(p.macs for p in sparse) == problem.sparse_macs


def test_sparse_digits_by_hand():
    entries = [torch.tensor(x) for x in ([0, 0, 2], [3, 1, 0], [5, -6, 7])]
    digits = SparseDigits.from_entries(entries[0], entries[1], entries[2].to(torch.int8), (3, 4))
    dense = torch.tensor([[0, -6, 0, 5], [0, 0, 0, 0], [7, 0, 0, 0]], dtype=torch.int8)
    assert torch.equal(digits.to_dense(), dense)
    assert torch.equal(digits.transposed().to_dense(), dense.T)
    assert torch.equal(digits.between(1, 4).to_dense(), dense[:, 1:])
    assert (digits.longest_row, digits.entries) == (2, 3)


def test_free_places_of_a_block_are_filled_with_columns_that_it_lacks():
    columns = np.array([[0, -1, -1], [2, 1, -1]])
    _fill_up(columns, np.array([0, 1, 2]))
    assert columns.tolist() == [[0, 1, 2], [2, 1, 0]]
