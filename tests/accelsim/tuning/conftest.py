"""A small language model to examine, and a text for it to read."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from accelsim.tuning.texts import TextSubject
from workloads.models.huggingface import Loaded
from workloads.models.text import Text


def planted():
    """Three decoder layers; all but the second add little to the sum: that one is sensitive."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.1,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for layer in (model.model.layers[0], model.model.layers[2]):
            layer.self_attn.o_proj.weight *= 0.02
            layer.mlp.down_proj.weight *= 0.02
    return model


def made():
    model = planted()
    torch.manual_seed(1)
    ids = torch.randint(64, (400,))
    return TextSubject("planted", Loaded(model, None, True), Text("random", "random"), ids)


@pytest.fixture
def subject():
    """A model of the test's own, which it may change."""
    return made()


@pytest.fixture(scope="session")
def unchanged():
    """A model that no test changes."""
    return made()
