"""Quantize and unpack by rows on the GPU: the same digits as the CPU, row by row."""

import pytest
import torch

from accelsim.arithmetic.rounding import quantize
from accelsim.errors import AccelsimError, InputError
from accelsim.kernels.rows import RowUnpacker
from accelsim.unpack import DigitSystem, IntegerOperand


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(64, 512), (33, 1031), (1, 1), (7, 5000)])
def test_same_digits_as_the_cpu(bits, dtype, shape, generator):
    x = torch.randn(shape, generator=generator, device="cuda")
    x[::3, ::7] *= -90
    x = x.to(dtype)
    quantized = quantize(x.cpu(), 90.0, float(2**bits - 1), "tensor", "error", "x")
    operand = IntegerOperand(quantized, DigitSystem("balanced", bits))
    levels = operand.survey.rows[0]
    columns = torch.zeros(shape[1], dtype=torch.int64)
    expected = operand.digits(0, levels, None, columns, torch.ones_like(columns, dtype=torch.bool))
    unpacker = RowUnpacker(x, bits, int((levels - 1).sum()))
    unpacker.digits.fill_(77)
    unpacker.run(x, quantized.scale.to(torch.float32).cuda())
    digits, places = unpacker.result()
    assert torch.equal(digits[: shape[0]].cpu(), expected[: shape[0]])
    # Further levels are appended in any order; the CPU writes them level by level, row by row.
    order = sorted(range(len(places)), key=lambda i: places[i].tolist()[::-1])
    assert torch.equal(digits[shape[0] :].cpu()[order], expected[shape[0] :])
    rows, depth = places.cpu().unbind(dim=1)
    assert torch.equal(torch.bincount(rows, minlength=shape[0]), levels - 1)
    assert all(0 < level < levels[row] for row, level in zip(rows, depth, strict=True))


def test_too_little_room_is_noticed(generator):
    x = torch.randn((64, 512), generator=generator, device="cuda") * 1000
    unpacker = RowUnpacker(x, 4, 10)
    unpacker.run(x, torch.ones((), device="cuda"))
    with pytest.raises(AccelsimError, match="room for 10"):
        unpacker.result()


def test_what_is_not_written_here_is_refused():
    x = torch.randn(8, 8, device="cuda")
    with pytest.raises(InputError, match="2, 4 or 8 bits"):
        RowUnpacker(x, 3, 1)
    with pytest.raises(InputError, match="contiguous"):
        RowUnpacker(x.T, 4, 1)
