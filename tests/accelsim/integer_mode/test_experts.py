"""Mixtures of experts: the same integers in every way in which transformers runs the experts."""

import pytest
import torch

import accelsim
from workloads.capture import Capture

transformers = pytest.importorskip("transformers")

EXPERTS = ("eager", "batched_mm", "grouped_mm")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = transformers.MixtralConfig(
        vocab_size=27,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=64,
    )
    return transformers.MixtralForCausalLM(config).eval()


@pytest.mark.parametrize("experts", EXPERTS)
def test_every_multiplication_of_the_experts_is_in_integers(model, experts):
    ids = torch.arange(26)[None]
    model.set_experts_implementation(experts)
    with torch.no_grad():
        expected = model(ids, labels=ids).loss
        with Capture(model) as capture:
            model(ids)
        mode = accelsim.integer_gemms(model, beta=2.0**20, percentile=100, exact="simulate")
        with mode:
            found = model(ids, labels=ids).loss
        with accelsim.integer_gemms(model, beta=3, exact="simulate"):
            coarse = model(ids, labels=ids).loss
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert not torch.isclose(coarse, expected, rtol=1e-4)
    assert not mode.skipped
    assert not capture.skipped
    summary = mode.tally.summary()
    assert summary["coverage"] == 1
    # Two experts a token, three matrices each.
    experts_macs = 26 * 2 * 3 * 32 * 48
    attention = 26 * 32 * (32 + 16 + 16 + 32) + 2 * 26 * 26 * 32
    router_and_head = 26 * 32 * (4 + 27)
    assert summary["dense_macs"] == experts_macs + attention + router_and_head
    assert len(capture.gemms) == summary["gemms"]


@pytest.mark.parametrize("experts", EXPERTS)
def test_training_of_the_experts(model, experts):
    ids = torch.arange(26)[None]
    model.set_experts_implementation(experts)
    gradients = []
    for options in ({}, {"beta": 2.0**22, "percentile": 100, "exact": "simulate"}):
        model.zero_grad()
        if options:
            with accelsim.integer_gemms(model, **options) as mode:
                model(ids, labels=ids).loss.backward()
        else:
            model(ids, labels=ids).loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert not mode.skipped
