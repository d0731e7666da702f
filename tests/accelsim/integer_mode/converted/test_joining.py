"""Products of one operand, joined while PyTorch compiles: fewer, and the same bits."""

import pytest
import torch
from torch import nn

import accelsim
from accelsim.integer_mode.converted import products


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = nn.Linear(64, 48)
        self.k = nn.Linear(64, 16, bias=False)
        self.v = nn.Linear(64, 16)
        self.o = nn.Linear(48, 64)

    def forward(self, x):
        batch, tokens, _ = x.shape
        q, k, v = (
            each(x).view(batch, tokens, -1, 16).transpose(1, 2) for each in (self.q, self.k, self.v)
        )
        k, v = (each.expand(-1, 3, -1, -1) for each in (k, v))
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.o(y.transpose(1, 2).reshape(batch, tokens, 48))


@pytest.fixture
def made(monkeypatch):
    """Note the outputs of every product."""
    seen = []
    forward, joined = products.forward, products.forward_joined

    def note(x, weight, settings):
        seen.append([weight.h])
        return forward(x, weight, settings)

    def note_joined(x, weights, settings):
        seen.append([weight.h for weight in weights])
        return joined(x, weights, settings)

    monkeypatch.setattr(products, "forward", note)
    monkeypatch.setattr(products, "forward_joined", note_joined)
    return seen


def compiled(model):
    options = {"post_grad_custom_pre_pass": accelsim.JoinProducts()}
    return torch.compile(model, fullgraph=True, dynamic=True, options=options)


@pytest.mark.parametrize(
    ("granularity", "outputs"),
    [("row", [[48, 16, 16], [64]]), ("tensor", [[48], [16], [16], [64]])],
)
def test_products_of_one_operand_are_joined_where_rows_have_scales(made, granularity, outputs):
    torch.manual_seed(0)
    model = Attention()
    betas = {"weights": 127, "default": 63}
    accelsim.quantize_(model, accelsim.IntegerConfig(betas, granularity=granularity))
    fast = compiled(model)
    for seed, shape in enumerate(((2, 5, 64), (1, 9, 64))):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            right = model(x)
            made.clear()
            assert torch.equal(fast(x), right)
        assert made == outputs


def test_weights_of_other_powers_of_two_are_multiplied_apart(made):
    torch.manual_seed(0)
    model = Attention()
    model.k.weight.data *= 1e-39
    accelsim.quantize_(model, accelsim.IntegerConfig(127, granularity="row"))
    assert int(model.k.weight_exponent) != int(model.q.weight_exponent)
    x = torch.randn(2, 5, 64)
    with torch.no_grad():
        assert torch.equal(compiled(model)(x), model(x))


def test_a_weight_that_changes_is_joined_anew(made):
    torch.manual_seed(0)
    model = Attention()
    accelsim.quantize_(model, accelsim.IntegerConfig(127, granularity="row"))
    fast, x = compiled(model), torch.randn(2, 5, 64)
    with torch.no_grad():
        fast(x)
        model.v.weight.neg_()
        assert torch.equal(fast(x), model(x))
