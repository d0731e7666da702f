"""Hugging Face's models: all in them is pinned, and a padded batch has the bits of one row."""

import pytest
import torch

import accelsim

transformers = pytest.importorskip("transformers")

SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "vocab_size": 40}
SIZES |= {"num_attention_heads": 4}
GROUPED = SIZES | {"num_key_value_heads": 2}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Bert", SIZES),
        ("GPT2", {"vocab_size": 40, "n_embd": 16, "n_layer": 1, "n_head": 4}),
        ("Gemma2", GROUPED | {"head_dim": 8}),
        ("Mixtral", GROUPED | {"num_local_experts": 4}),
    ],
)
def test_a_model_is_pinned(name, options):
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}Model")(
        getattr(transformers, f"{name}Config")(**options)
    ).eval()
    ids = torch.randint(2, 40, (2, 6))
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    beta = {"weights": 127, "default": 63}
    with torch.no_grad(), accelsim.invariant(model, beta, exact="simulate") as mode:
        batch = model(input_ids=ids, attention_mask=mask).last_hidden_state
        alone = model(input_ids=ids[1:, :4]).last_hidden_state
    assert torch.equal(batch[1, :4], alone[0])
    summary = mode.tally.summary()
    assert (summary["level"], summary["unpinned"]) == (2, {})
