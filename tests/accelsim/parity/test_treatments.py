"""Treatments, quality and clipping on models made here."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from accelsim.arithmetic.rounding import alpha
from accelsim.errors import InputError
from accelsim.parity.quality import embeddings, likeness, perplexity, windows
from accelsim.parity.treatments import Treatment
from gemm_backends import Accumulator, GemmBackend, register
from gemm_backends.loading import registry

sys.path.insert(0, str(Path(__file__).parents[2] / "workloads"))
from small_models import language


class Causal(nn.Module):
    """A language model with the interface of `transformers`."""

    def __init__(self):
        super().__init__()
        self.inner = language()

    def forward(self, input_ids, use_cache):
        return SimpleNamespace(logits=self.inner(input_ids))


class Encoder(nn.Module):
    """An encoder with the interface of `transformers`."""

    def __init__(self):
        super().__init__()
        self.inner = language()

    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(last_hidden_state=self.inner(input_ids))


@pytest.fixture
def inputs():
    return windows(torch.arange(200) * 7 % 30, 3, 20)


def test_windows_start_evenly():
    found = windows(torch.arange(103), 4, 20)
    assert found[:, 0].tolist() == [0, 25, 50, 75]
    assert windows(torch.arange(20), 1, 20).shape == (1, 20)
    with pytest.raises(InputError, match="103 tokens, too few for 4 windows of 90"):
        windows(torch.arange(103), 4, 90)


def test_perplexity_is_that_of_the_definition(inputs):
    model = Causal()
    with torch.no_grad():
        logits = model.inner(inputs)[:, :-1].double()
    chosen = logits.log_softmax(-1).gather(-1, inputs[:, 1:, None])
    assert perplexity(model, inputs).value == pytest.approx(float((-chosen.mean()).exp()), rel=1e-5)


def quality(treatment, inputs):
    torch.manual_seed(0)
    model = Causal()
    with treatment.context(model):
        return perplexity(model, inputs).value


def test_float_is_the_plain_model(inputs):
    assert quality(Treatment(method="float"), inputs) == perplexity(Causal(), inputs).value


def test_more_levels_are_closer_and_the_backend_makes_no_difference(inputs):
    plain = quality(Treatment(method="float"), inputs)
    found = [quality(Treatment(beta=beta), inputs) for beta in (3, 15, 4095)]
    errors = [abs(value - plain) for value in found]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 * plain
    assert quality(Treatment(beta=15, backend="emulator", bits=4, check=True), inputs) == found[1]


def test_a_backend_that_is_wrong_breaks_the_perplexity(inputs, monkeypatch):
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

    @register
    class Negated(GemmBackend):
        name, bits, accumulator = "negated", 8, Accumulator(32, "wrap")

        def matmul(self, a, b):
            return -(a.int() @ b.int().T)

    right = quality(Treatment(beta=15), inputs)
    assert quality(Treatment(beta=15, backend="negated"), inputs) != pytest.approx(right, rel=0.01)


def test_clipping_clips_and_does_not_round():
    torch.manual_seed(0)
    layer, x = nn.Linear(30, 4), torch.randn(6, 30)
    with Treatment(method="clip", percentile=80).context(layer):
        found = layer(x)
    limits = [float(alpha(t.detach().reshape(1, -1), 80)) for t in (x, layer.weight)]
    a, b = (t.clamp(-limit, limit) for t, limit in zip((x, layer.weight), limits, strict=True))
    torch.testing.assert_close(found, a @ b.T + layer.bias)
    with Treatment(method="clip", percentile=100).context(layer):
        torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias)


def test_likeness_of_an_encoder_to_itself(inputs):
    torch.manual_seed(0)
    model = Encoder()
    plain = embeddings(model, inputs)
    assert likeness(plain, plain).value == pytest.approx(1)
    with Treatment(beta=7).context(model):
        rough = likeness(embeddings(model, inputs), plain).value
    assert 0.5 < rough < 1


def test_records_tell_treatments_apart():
    some = [
        Treatment(method="float", beta=1),
        Treatment(method="float", beta=2),
        Treatment(method="clip", beta=1),
        Treatment(method="clip", beta=2),
        Treatment(bits=3),
        Treatment(bits=4),
        Treatment(bits=4, backend="emulator"),
        Treatment(skip=("head",)),
    ]
    records = [treatment.to_record() for treatment in some]
    assert [records.index(record) for record in records] == [0, 0, 2, 2, 4, 4, 6, 7]
    assert some[-2].label == "p = 95, β = 255, emulator at 4 bits"
    assert some[-1].label == "p = 95, β = 255, without head"
    assert Treatment(beta={"default": 7, "gradients": 63}).label == (
        "p = 95, β = 7 (default), 63 (gradients)"
    )
