"""From sums to results: integers beyond float64, quotients beside ties, scales for lines."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from accelsim.arithmetic.dequantize import dequantize
from accelsim.types import PerOperand
from gemm_backends.cuda.fused.arguments import Pack
from gemm_backends.cuda.fused.way import OUT_TYPES, PACK

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def packed(sums, common, dtype, rows=None, columns=None):
    """Call the kernel for sums ``[n, h]``, whose rows are filled up to a multiple of four."""
    n, h = sums.shape
    padded = torch.nn.functional.pad(sums, (0, -h % 4), value=77).cuda().contiguous()
    scale = torch.tensor([common, 1 / common], dtype=torch.float64, device="cuda")
    lines = [None if x is None else x.cuda() for x in (rows, columns)]
    out = torch.full((n, h), 77, device="cuda").to(dtype)
    wide = sums.dtype is torch.int64
    arguments = Pack(
        sums=padded,
        wide=wide,
        stride=padded.shape[1],
        rows=n,
        n=n,
        h=h,
        common=scale,
        row_scales=lines[0],
        column_scales=lines[1],
        out=out,
        type=OUT_TYPES[dtype],
    )
    PACK.launch("accelsim_pack", out.device, arguments)
    return out.cpu()


def drawn(dtype, n, h, seed):
    """Integers of every size up to the type's own, of both signs."""
    generator = np.random.default_rng(seed)
    bits = 31 if dtype is torch.int32 else 63
    sizes = generator.integers(1, bits + 1, (n, h))
    values = generator.integers(0, 2**63, (n, h), dtype=np.int64) >> (63 - sizes)
    signs = generator.choice([-1, 1], (n, h))
    return torch.from_numpy(values * signs).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sums", [torch.int32, torch.int64])
@pytest.mark.parametrize("by_lines", [False, True])
def test_quotients_are_those_of_the_cpu(dtype, sums, by_lines):
    """Half a million quotients, of which hundreds lie beside a tie of bfloat16."""
    product = drawn(sums, 500, 1001, seed=1)
    generator = torch.Generator().manual_seed(2)
    if by_lines:
        a, b = (2 ** (8 * torch.rand(n, 1, generator=generator) - 4) for n in product.shape)
        found = packed(product, 1.0, dtype, a[:, 0], b[:, 0])
    else:
        a, b = torch.tensor(0.7324218), torch.tensor(123.456)
        found = packed(product, float(a.double() * b.double()), dtype)
    assert torch.equal(found, dequantize(product, PerOperand(a, b), dtype))


def test_integers_about_the_limit_of_float64():
    product = torch.tensor([[sign * (2**53 + k) for k in range(-4, 5)] for sign in (1, -1)])
    for scale in (1.0, 3.0, 2.0**30):
        a, b = torch.tensor(scale), torch.tensor(1.0)
        for dtype in DTYPES:
            found = packed(product, scale, dtype)
            assert torch.equal(found, dequantize(product, PerOperand(a, b), dtype))
    assert torch.equal(packed(product, 1.0, torch.int64), product)


@pytest.mark.parametrize("shift", [12, 21])
def test_quotients_beside_a_tie_by_less_than_64_bits_show(shift):
    """``c * 2^shift = tie * divisor + rest``: the rest alone says which way it is rounded.

    The integers have 61 bits, or 52, which float64 holds.
    """
    divisor = (2**24 - 3) * (2**24 - 17)
    inverse = pow(divisor, -1, 2**shift)
    integers, expected = [], []
    for rest in (1, -1):
        for start in range(2**24, 2**25, max(2**19, 2**shift)):
            tie = (-rest * inverse) % 2**shift + start
            assert 2**24 < tie < 2**25
            assert tie % 2
            integers.append((tie * divisor + rest) >> shift)
            expected.append((tie + rest) / 2**shift)
    product = torch.tensor([integers, [-c for c in integers]])
    wanted = torch.tensor([expected, [-x for x in expected]], dtype=torch.float32)
    assert bool((product.abs() > 2**53).all()) == (shift == 12)
    assert torch.equal(packed(product, float(divisor), torch.float32), wanted)


def test_the_first_integer_that_float64_does_not_hold():
    """Ties between ``2^53 / scale`` and ``(2^53 + 1) / scale``: the first is on their far side."""
    found = 0
    for tie in range(2**24 + 1, 2**24 + 4001, 2):
        scale = math.nextafter(2**53 / tie, math.inf)
        if not 2**53 < Fraction(scale) * tie < 2**53 + 1:
            continue
        found += 1
        product = torch.tensor([[2**53, 2**53 + 1, -(2**53) - 1]])
        wanted = torch.tensor([[tie - 1.0, tie + 1.0, -tie - 1.0]])
        assert torch.equal(packed(product, scale, torch.float32), wanted)
    assert found > 10


def test_quotients_beside_ties_by_scales_of_lines():
    """Every sum is the nearest integer to a tie of bfloat16 times both scales, or beside it."""
    generator = torch.Generator().manual_seed(4)
    a, b = (1 + torch.rand(n, 1, generator=generator) for n in (200, 403))
    ties = 2 * torch.randint(128, 256, (200, 403), generator=generator) + 1
    divisor = a.double() * b.double().mT
    product = (ties * 2.0**19 * divisor).round().long()
    product += torch.randint(-1, 2, product.shape, generator=generator)
    assert 2**26 < int(product.max()) < 2**31
    found = packed(product.int(), 1.0, torch.bfloat16, a[:, 0], b[:, 0])
    assert torch.equal(found, dequantize(product, PerOperand(a, b), torch.bfloat16))


def test_a_result_that_does_not_count_is_poisoned():
    product = drawn(torch.int64, 3, 5, seed=3)
    for sums in (product, product.int()):
        for dtype in DTYPES:
            assert packed(sums, float("nan"), dtype).isnan().all()
        assert (packed(sums, float("nan"), torch.int64) == -(2**63)).all()
