"""Every strategy on CUDA tensors: the same ratio and digits in range, and the exact product."""

import pytest
import torch

from accelsim.arithmetic.oracle import oracle
from accelsim.arithmetic.sparse import SparseDigits
from accelsim.unpack import DigitSystem, IntegerOperand, list_strategies, load_strategy, pack


def operands(bits):
    generator = torch.Generator().manual_seed(bits)
    bound, heavy = 1 << (bits - 1), 1 << (bits + 3)
    for rows in (60, 50):
        values = torch.randint(1 - bound, bound, (2, rows, 90), generator=generator)
        large = torch.randint(-heavy, heavy, values.shape, generator=generator)
        large[:, ::9] *= 4
        yield torch.where(torch.rand(values.shape, generator=generator) < 0.04, large, values).int()


@pytest.mark.parametrize("strategy", [*list_strategies(), "row/column", "block(block=1)"])
@pytest.mark.parametrize("digits", ["paper", "balanced"])
@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_a_strategy_on_the_gpu_is_the_one_on_the_cpu(strategy, digits, bits):
    system = DigitSystem(digits, bits)
    a, b = operands(bits)
    expected = load_strategy(strategy).unpack(IntegerOperand(a, system), IntegerOperand(b, system))
    problem = load_strategy(strategy).unpack(
        IntegerOperand(a.cuda(), system), IntegerOperand(b.cuda(), system)
    )
    assert problem.ratio == expected.ratio
    assert problem.strategy_chosen == expected.strategy_chosen
    results = []
    for product in problem.products:
        x, y = (p.to_dense() if isinstance(p, SparseDigits) else p for p in (product.a, product.b))
        assert x.is_cuda
        assert y.is_cuda
        assert not system.out_of_bound(torch.cat([x, y])).any()
        results.append((x.double() @ y.double().mT).long())
    packed = pack(problem, results)
    assert packed.is_cuda
    assert torch.equal(packed.cpu(), oracle(a, b))
