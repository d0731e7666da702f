"""The overflow proof, on operands that reach it exactly."""

import pytest
import torch

from accelsim.arithmetic.bounds import longest_k
from accelsim.arithmetic.oracle import compare, oracle
from accelsim.errors import UnsupportedError
from accelsim.measure.timing import StageTimer
from accelsim.routes import execute as module
from accelsim.routes.execute import execute, schedule
from accelsim.types import PerOperand
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy
from gemm_backends import load_backend

WIDTH = 20


def multiply(d, overflow="saturate", bits=8, accumulator_bits=WIDTH, k_split="auto"):
    """Multiply operands whose every digit is the largest in magnitude; return run and verdict."""
    system = DigitSystem("balanced", bits)
    a, b = torch.full((3, d), -system.largest), torch.full((2, d), -system.largest)
    problem = load_strategy("row").unpack(IntegerOperand(a, system), IntegerOperand(b, system))
    backend = load_backend(
        "emulator", bits=bits, accumulator_bits=accumulator_bits, overflow=overflow
    )
    scheduled = schedule(problem, backend, PerOperand.both(system), k_split)
    timer = StageTimer()
    with timer.repeat():
        done = execute(scheduled, backend, timer, watch_overflow=k_split == "never", wide=False)
    return scheduled, done, compare(done.result, oracle(a, b)[None])


@pytest.mark.parametrize("overflow", ["wrap", "saturate", "error"])
@pytest.mark.parametrize("beyond", [-1, 0, 1, 31, 32])
def test_k_is_cut_just_where_it_must_be(overflow, beyond):
    k = longest_k(WIDTH, 128, 128)
    assert k == 31
    scheduled, _, verdict = multiply(k + beyond, overflow)
    assert len(scheduled.products) == scheduled.k_pieces == -(-(k + beyond) // k)
    assert verdict.exact


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
def test_a_bound_that_is_loose_by_one_is_noticed(overflow, monkeypatch):
    monkeypatch.setattr(module, "longest_k", lambda *sizes: longest_k(*sizes) + 1)
    _, _, verdict = multiply(longest_k(WIDTH, 128, 128) + 1, overflow)
    assert not verdict.exact


def test_without_a_split_the_overflow_is_counted():
    _, done, verdict = multiply(33, k_split="never")
    assert done.overflows == 3 * 2 * 2
    assert not verdict.exact


def test_an_accumulator_for_no_single_product_is_refused():
    with pytest.raises(UnsupportedError, match="may overflow the 15-bit accumulator"):
        multiply(4, accumulator_bits=15)
