"""Random small models: the same bits by every way, the same GEMMs in capture, all exact."""

import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timebox import search
from torch import nn

import accelsim
from accelsim.integer_mode import IntegerGemms
from workloads.capture import Capture

sys.path.insert(0, str(Path(__file__).parents[2] / "workloads"))
from small_models import Block

WIDTH = 12


class Apply(nn.Module):
    """A function of ``[batch, tokens, width]`` and of parameters of some shapes."""

    def __init__(self, function, *shapes):
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(*shape) / 3) for shape in shapes)

    def forward(self, x):
        return self.function(x, *self.weights)


class First(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


class AlongTokens(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x.mT).mT[:, : x.shape[1]]


def mixed(x):
    return torch.softmax(x @ x.mT / 4, -1) @ x


W = WIDTH
LAYERS = {
    "linear": lambda: nn.Linear(W, W),
    "no bias": lambda: nn.Linear(W, W, bias=False),
    "narrow": lambda: nn.Sequential(nn.Linear(W, 3), nn.GELU(), nn.Linear(3, W)),
    "norm": lambda: nn.LayerNorm(W),
    "attention": lambda: Block(W),
    "few key heads": lambda: Block(W, kv_heads=2),
    "unfused": lambda: Block(W, fused=False),
    "torch's layer": lambda: nn.TransformerEncoderLayer(W, 3, 16, 0.0, batch_first=True),
    "with itself": lambda: Apply(mixed),
    "einsum": lambda: Apply(lambda x, w: torch.einsum("btd,de->bte", x, w), (W, W)),
    "heads": lambda: Apply(
        lambda x, w: torch.einsum("bthd,hde->bthe", x.unflatten(-1, (3, 4)), w).flatten(2),
        (3, 4, 4),
    ),
    "batched": lambda: Apply(lambda x, w: torch.matmul(x, w), (1, W, W)),
    "transposed": lambda: Apply(lambda x, w: (w @ x.mT).mT, (W, W)),
    "convolution": lambda: AlongTokens(nn.Conv1d(W, W, 3, padding=1)),
    "depthwise": lambda: AlongTokens(nn.Conv1d(W, W, 3, padding=2, groups=W)),
    "grouped": lambda: AlongTokens(nn.Conv1d(W, W, 2, padding=1, groups=3)),
    "deconvolution": lambda: AlongTokens(nn.ConvTranspose1d(W, W, 3)),
    "lstm": lambda: First(nn.LSTM(W, W, batch_first=True)),
    "gru": lambda: First(nn.GRU(W, W, batch_first=True)),
}

STRATEGIES = ["row", "column", "both", "mix", "best", "block", "optimal"]


@st.composite
def cases(draw):
    """Draw a model, its input, and two ways to compute it."""
    layers = draw(st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=3))
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    options = {
        "beta": draw(st.sampled_from([7, 31, 255, {"weights": 127, "default": 31}])),
        "percentile": draw(st.sampled_from([90, 95, 100])),
        "granularity": draw(st.sampled_from(["tensor", "row"])),
    }
    way = {
        "backend": draw(st.sampled_from(["int64", "cpu-int8", "emulator"])),
        "strategy": draw(st.sampled_from(STRATEGIES)),
        "digits": draw(st.sampled_from(["balanced", "paper"])),
        "check": True,
    }
    if way["backend"] != "cpu-int8":
        way["bits"] = draw(st.integers(2, 8))
    return layers, shape, draw(st.integers(0, 99)), options, way


class Named(IntegerGemms):
    """Integer mode that keeps the name, op and phase of every product."""

    def product(self, call):
        self.seen.append((call.name, call.site.op, call.phase))
        return super().product(call)


def step(model, x, context):
    """Return the output and all gradients."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    with context:
        out = model(x)
        out.square().sum().backward()
    return [out.detach(), x.grad, *(p.grad.clone() for p in model.parameters())]


def check(case):
    layers, shape, seed, options, way = case
    torch.manual_seed(seed)
    model = nn.Sequential(*(LAYERS[name]() for name in layers))
    x = torch.randn(*shape, WIDTH)
    x[..., 3] *= 20
    simulated = accelsim.integer_gemms(model, **options, exact="simulate")
    simulated.__class__, simulated.seen = Named, []
    expected = step(model, x, simulated)
    mode = accelsim.integer_gemms(model, **options, **way)
    found = step(model, x, mode)
    total = mode.tally.total
    assert (total.checked, total.inexact) == (total.gemms, 0)
    assert total.gemms == simulated.tally.total.gemms
    assert mode.tally.coverage in (1, None)
    assert not mode.skipped
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
    capture = Capture(model)
    floats = step(model, x, capture)
    # Fused attention's backward pass has its products in another order.
    captured = [(g.described.name, g.described.op, g.described.phase) for g in capture.gemms]
    assert sorted(captured) == sorted(simulated.seen)
    assert [one.stride() for one in floats] == [one.stride() for one in found]
    with recurrent_layers_as_steps(model):
        alone = step(model, x, torch.enable_grad())
    for one, other in zip(alone, floats, strict=True):
        assert torch.equal(one, other), "capturing changes nothing"


@contextmanager
def recurrent_layers_as_steps(model):
    """Without oneDNN an LSTM or GRU shows its products, and so it runs when it is captured."""

    def without(layer, forward):
        def run(*args, **kwargs):
            with torch.backends.mkldnn.flags(enabled=False):
                return forward(*args, **kwargs)

        layer.forward = run

    layers = [layer for layer in model.modules() if isinstance(layer, nn.RNNBase)]
    for layer in layers:
        without(layer, layer.forward)
    yield
    for layer in layers:
        del layer.forward


@given(cases())
@settings(max_examples=4)
def test_random_models(case):
    check(case)


@pytest.mark.slow
def test_random_models_for_three_minutes(say):
    assert search(cases(), check, 180, say)
