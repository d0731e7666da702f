"""Treatments, quality and clipping on models made here."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import accelsim
from accelsim.arithmetic.rounding import alpha
from accelsim.config import BackendChoice
from accelsim.config.plans import load_plan
from accelsim.errors import InputError
from accelsim.parity.quality import embeddings, likeness, perplexity, windows
from accelsim.parity.sweep import TreatmentSweep
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


def treatment(backend=None, **keys):
    """The one treatment that these keys of a config stand for."""
    choice = None if backend is None else BackendChoice(backend, {}, backend)
    (found,) = TreatmentSweep.model_validate({"backend": backend, **keys}).treatments(choice)
    return found


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


def quality(how, inputs):
    torch.manual_seed(0)
    model = Causal()
    with how.context(model):
        return perplexity(model, inputs).value


def test_float_is_the_plain_model(inputs):
    assert quality(treatment(method="float"), inputs) == perplexity(Causal(), inputs).value


def test_more_levels_are_closer_and_the_backend_makes_no_difference(inputs):
    plain = quality(treatment(method="float"), inputs)
    found = [quality(treatment(beta=beta), inputs) for beta in (3, 15, 4095)]
    errors = [abs(value - plain) for value in found]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 * plain
    assert quality(treatment(beta=15, backend="emulator", bits=4, check=True), inputs) == found[1]


def test_a_backend_that_is_wrong_breaks_the_perplexity(inputs, monkeypatch):
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

    @register
    class Negated(GemmBackend):
        name, bits, accumulator = "negated", 8, Accumulator(32, "wrap")

        def matmul(self, a, b):
            return -(a.int() @ b.int().T)

    right = quality(treatment(beta=15), inputs)
    assert quality(treatment(beta=15, backend="negated"), inputs) != pytest.approx(right, rel=0.01)


def test_clipping_clips_and_does_not_round():
    torch.manual_seed(0)
    layer, x = nn.Linear(30, 4), torch.randn(6, 30)
    with treatment(method="clip", percentile=80).context(layer):
        found = layer(x)
    limits = [float(alpha(t.detach().reshape(1, -1), 80)) for t in (x, layer.weight)]
    a, b = (t.clamp(-limit, limit) for t, limit in zip((x, layer.weight), limits, strict=True))
    torch.testing.assert_close(found, a @ b.T + layer.bias)
    with treatment(method="clip", percentile=100).context(layer):
        torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias)


def test_likeness_of_an_encoder_to_itself(inputs):
    torch.manual_seed(0)
    model = Encoder()
    plain = embeddings(model, inputs)
    assert likeness(plain, plain).value == pytest.approx(1)
    with treatment(beta=7).context(model):
        rough = likeness(embeddings(model, inputs), plain).value
    assert 0.5 < rough < 1


def test_clipping_by_kind():
    torch.manual_seed(0)
    layer, x = nn.Linear(30, 4), torch.randn(6, 30)
    with treatment(method="clip", percentile={"default": 100, "weights": 80}).context(layer):
        found = layer(x)
    limit = float(alpha(layer.weight.detach().reshape(1, -1), 80))
    torch.testing.assert_close(found, x @ layer.weight.clamp(-limit, limit).T + layer.bias)


def test_records_tell_treatments_apart():
    some = [
        treatment(method="float", beta=1),
        treatment(method="float", beta=2),
        treatment(method="clip", beta=1),
        treatment(method="clip", beta=2),
        treatment(bits=3),
        treatment(bits=4),
        treatment(bits=4, backend="emulator"),
        treatment(skip=["head"]),
        treatment(granularity="row"),
        treatment(strategy="fused"),
    ]
    records = [how.to_record() for how in some]
    assert [records.index(record) for record in records] == [0, 0, 2, 2, 4, 4, 6, 7, 8, 9]
    assert [how.label for how in some[6:]] == [
        "p = 95, β = 255, emulator at 4 bits",
        "p = 95, β = 255, without head",
        "p = 95, β = 255, scales per row",
        "p = 95, β = 255, 8 bits, fused",
    ]
    assert treatment(beta={"default": 7, "gradients": 63}).label == (
        "p = 95, β = 7 (default), 63 (gradients)"
    )
    labelled = treatment(
        backend="emulator", bits={"a": 8, "b": 4}, strategy="block", block=16, digits="paper"
    )
    assert labelled.label == (
        "p = 95, β = 255, emulator at 8 × 4 bits, block of 16 columns, paper digits"
    )
    assert labelled.to_record()["bits"] == {"a": 8, "b": 4}


def test_a_sweep_is_one_treatment_for_each_combination():
    keys = {
        "beta": [15, {"default": 15, "weights": 127}],
        "granularity": ["tensor", "row"],
        "bits": [4, 8],
        "strategy": ["mix", {"name": "optimal", "time_limit_s": 1}, "block"],
        "block": [16, 32],
    }
    found = TreatmentSweep.model_validate(keys).treatments(BackendChoice("int64", {}, "int64"))
    records = [how.to_record() for how in found]
    assert len(records) == 2 * 2 * 2 * (1 + 1 + 2)
    assert all(records.index(record) == index for index, record in enumerate(records))
    assert {record["strategy"] for record in records} == {
        "mix", "optimal(time_limit_s=1)", "block",
    }  # fmt: skip
    assert [record["beta"] for record in records[::16]] == [15, {"default": 15, "weights": 127}]
    plain = TreatmentSweep.model_validate({"method": "float", **keys}).treatments()
    assert [how.to_record() for how in plain] == [{"method": "float"}]


@pytest.mark.parametrize(
    "keys",
    [
        {"granularity": "row"},
        {"beta": {"default": 7, "weights": 63}},
        {"percentile": {"default": 95, "attention": 99}},
        {"zero_alpha": "error"},
    ],
)
def test_every_key_of_rounding_reaches_the_integers(keys):
    torch.manual_seed(0)
    model, x = nn.Linear(30, 4), torch.randn(6, 30) * torch.logspace(-2, 1, 6)[:, None]
    x[0, :28] = 0  # so that most of a row is zeros
    with treatment(beta=15).context(model):
        plain = model(x)
    how = treatment(**{"beta": 15, **keys})
    with how.context(model):
        found = model(x)
    with accelsim.integer_gemms(model, **{"beta": 15, **keys}):
        expected = model(x)
    assert torch.equal(found, expected)
    assert torch.equal(found, plain) == ("attention" in str(keys) or "zero_alpha" in keys)


def test_every_key_of_unpacking_reaches_the_backend():
    torch.manual_seed(0)
    model, x = nn.Linear(40, 12), torch.randn(16, 40)
    x.view(-1)[::17] *= 50
    ratios = []
    for keys in (
        {},
        {"bits": 4},
        {"bits": {"a": 4, "b": 8}},
        {"bits": 4, "digits": "paper"},
        {"bits": 4, "strategy": "row"},
        {"strategy": "block", "block": 1},
        {"strategy": "block", "block": 5},
    ):
        mode = treatment(backend="int64", beta=127, check=True, **keys).context(model)
        with mode:
            model(x)
        assert (mode.tally.total.checked, mode.tally.total.inexact) == (1, 0)
        ratios.append(mode.tally.total.ratio)
    assert len(set(ratios)) == len(ratios), ratios


def test_a_plan_reaches_the_integers_the_record_and_the_label(tmp_path):
    path = tmp_path / "fine.yaml"
    path.write_text("{schema: 1, gemms: {matmul: {weights: {beta: 1023}}}}")
    torch.manual_seed(0)
    model, x = nn.Linear(30, 4), torch.randn(6, 30)
    how = TreatmentSweep(beta=15).treatments(plans=[load_plan(path)])[0]
    with how.context(model):
        found = model(x)
    with accelsim.integer_gemms(model, {"default": 15, "weights": 1023}):
        expected = model(x)
    assert torch.equal(found, expected)
    assert how.label == "plan fine (else p = 95, β = 15)"
    assert how.to_record()["plan"] == {"name": "fine.yaml", "sha256": load_plan(path).hash}
    assert how.weights("").beta == 1023
