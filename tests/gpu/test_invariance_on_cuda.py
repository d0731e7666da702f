"""Level 2: pinned operators and a whole model have the bits of the CPU on a CUDA device."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import accelsim
from accelsim.integer_mode.pinned import operators

BETA = {"weights": 127, "default": 63}
DTYPES = [torch.float32, torch.bfloat16, torch.float16]

CALLS = {
    "exp": torch.exp,
    "log": lambda x: x.abs().log(),
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "erf": torch.erf,
    "gelu": functional.gelu,
    "gelu, tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "rsqrt": lambda x: x.abs().rsqrt(),
    "reciprocal": torch.reciprocal,
    "square": lambda x: x.pow(2),
    "inverse root": lambda x: x.abs().pow(-0.5),
    "quotient": lambda x: x / 3,
    "sum with a factor": lambda x: torch.add(x, x.flip(0), alpha=0.3),
    "sum": lambda x: x.sum(-1),
    "sum of all": lambda x: x.sum(),
    "mean": lambda x: x.mean((0, 1)),
    "softmax": lambda x: x.softmax(-1),
    "softmax of columns": lambda x: x.softmax(0),
    "log_softmax": lambda x: x.log_softmax(-1),
    "layer_norm": lambda x: functional.layer_norm(x, x.shape[-1:], x[0], x[1]),
    "rms_norm": lambda x: functional.rms_norm(x, x.shape[-1:], x[0], 1e-6),
    "topk": lambda x: x.topk(5, -1)[1],
    "sort": lambda x: x.sort(-1)[1],
    "argmax": lambda x: x.argmax(-1),
}


def drawn(dtype, spread):
    """Draw values over many powers of two; every fifth is drawn from 16, so that many are equal."""
    generator = torch.Generator().manual_seed(spread)
    x = torch.randn((60, 1000), generator=generator)
    x = x * 2.0 ** torch.randint(-spread, spread // 4 + 1, x.shape, generator=generator)
    x[:, ::5] = torch.randint(-8, 8, x[:, ::5].shape, generator=generator) / 4
    return x.clamp(-60000, 60000).to(dtype)


@pytest.mark.parametrize("spread", [4, 24, 120])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_an_operator_has_the_bits_of_the_cpu(name, dtype, spread):
    x = drawn(dtype, spread)

    class Call(nn.Module):
        def forward(self, x):
            return CALLS[name](x)

    call = Call()
    with torch.no_grad(), accelsim.invariant(call, BETA) as mode:
        right, found = call(x), call(x.cuda())
    assert mode.tally.summary()["unpinned"] == {}
    assert torch.equal(bits(found.cpu()), bits(right))


def bits(x):
    """Return entries as integers; every NaN is one."""
    sizes = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    known = x if x.dtype == torch.int64 else torch.where(x.isnan(), torch.nan, x)
    return known.contiguous().view(sizes[x.element_size()])


def block(width):
    """Return a block with every kind of what lies between the GEMMs of a Transformer."""
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.last = nn.RMSNorm(width), nn.LayerNorm(width)
            self.qkv, self.o = nn.Linear(width, 3 * width), nn.Linear(width, width, bias=False)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, 4, -1)).permute(2, 0, 3, 1, 4)
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.o(y.transpose(1, 2).flatten(2))
            x = x + self.down(functional.silu(self.up(self.last(x))))
            return x.log_softmax(-1)

    return Block().eval()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", [None, "cuda-int8", "cutlass-int8"])
def test_a_model_has_the_bits_of_the_cpu_in_any_batch(dtype, backend):
    model = block(128).to(dtype)
    x = torch.randn((7, 33, 128), generator=torch.Generator().manual_seed(1))
    x[..., 5] *= 30
    x = x.to(dtype)
    with torch.no_grad(), accelsim.invariant(model, BETA):
        right = model(x)
    there = model.cuda()
    with torch.no_grad(), accelsim.invariant(there, BETA, backend=backend, check=True) as mode:
        found = [there(x.cuda()), there(x[2:3, :20].cuda()), there(x.flip(0).cuda())]
    summary = mode.tally.summary()
    assert summary["checked"] == summary["gemms"] > 0
    assert summary["inexact"] == 0
    assert (summary["level"], summary["unpinned"]) == (2, {})
    assert torch.equal(bits(found[0].cpu()), bits(right))
    assert torch.equal(bits(found[1].cpu()), bits(right[2:3, :20]))
    assert torch.equal(bits(found[2].cpu()), bits(right.flip(0)))


def test_the_devices_own_exp_is_seen(monkeypatch):
    model = block(128)
    x = torch.randn((2, 33, 128), generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(operators.elementary, "exp", lambda x: x.float().exp().double())
    with torch.no_grad(), accelsim.invariant(model, BETA):
        right = model(x)
    with torch.no_grad(), accelsim.invariant(model.cuda(), BETA):
        found = model(x.cuda())
    assert not torch.equal(bits(found.cpu()), bits(right))
