"""A token's bits depend on its own sequence alone; breaking any part of that is seen."""

import hashlib

import pytest
import torch
from torch import nn

import accelsim
from accelsim.errors import InputError
from accelsim.integer_mode.pinned import operators

BETA = {"weights": 127, "default": 63}
TOKENS, WORDS = 6, 61


class Layer(nn.Module):
    """A layer of Llama's shape, from the operators that Hugging Face's models use."""

    def __init__(self, size=32, heads=4):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(size, 3 * size, bias=False)
        self.o = nn.Linear(size, size, bias=False)
        self.gate, self.up = nn.Linear(size, 64, bias=False), nn.Linear(size, 64, bias=False)
        self.down = nn.Linear(64, size, bias=False)

    def forward(self, x, mask, positions):
        q, k, v = self.qkv(norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotated(q, positions), rotated(k, positions)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.o(y.transpose(1, 2).flatten(2))
        return x + self.down(nn.functional.silu(self.gate(norm(x))) * self.up(norm(x)))


class Model(nn.Module):
    """A model with weights that every machine makes alike."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(WORDS, 32)
        self.layers = nn.ModuleList(Layer() for _ in range(1))
        self.head = nn.Linear(32, WORDS, bias=False)
        state = 1
        for p in self.parameters():
            entries = torch.arange(p.numel(), dtype=torch.int64) * 48271 + state
            p.data = ((entries * 16807 % 2147483647) % 2001 - 1000).reshape(p.shape) / 2000.0
            state += p.numel()

    def forward(self, ids, real=None):
        """Return logits ``[batch, tokens, words]``; `real` tells tokens from padding."""
        real = torch.ones_like(ids, dtype=torch.bool) if real is None else real
        positions = (real.cumsum(1) - 1).clamp_min(0)
        tokens = ids.shape[1]
        mask = torch.ones(tokens, tokens, dtype=torch.bool).tril() & real[:, None, :]
        x = self.words(ids)
        for layer in self.layers:
            x = layer(x, mask[:, None], positions)
        return self.head(norm(x))


def norm(x):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def rotated(x, positions):
    half = x.shape[-1] // 2
    frequencies = torch.tensor([1.0, 0.1, 0.01, 0.001])[:half]
    angles = (positions[:, None, :, None] * frequencies).repeat(1, 1, 1, 2)
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return x * angles.cos() + turned * angles.sin()


IDS = torch.arange(3 * TOKENS).reshape(3, TOKENS) * 31 % WORDS


def digest(x):
    return hashlib.sha256(x.contiguous().numpy().tobytes()).hexdigest()[:16]


def padded(left, right):
    zeros = IDS.new_zeros
    ids = torch.cat([zeros(3, left), IDS, zeros(3, right)], 1)
    real = torch.cat([zeros(3, left), torch.ones_like(IDS), zeros(3, right)], 1).bool()
    return ids, real


def ways(model):
    """Run the first sequence alone, in a batch, shuffled, padded, and as a shorter prompt."""
    yield model(IDS[:1])[0]
    yield model(IDS)[0]
    yield model(IDS[[2, 1, 0]])[2]
    for left, right in ((4, 0), (0, 5), (2, 3)):
        yield model(*padded(left, right))[0, left : left + TOKENS]
    # Tokens that come later change nothing: what a cache of keys and values relies on.
    yield torch.cat([model(IDS[:1, : t + 1])[0, t:] for t in range(TOKENS)])


def digests(model, **options):
    with torch.no_grad(), accelsim.invariant(model, BETA, **options) as mode:
        found = {digest(x) for x in ways(model)}
    return found, mode.tally.summary()


RECORDED = "2119aad98537482e"
"""The same on every machine, for every backend."""


def test_one_hash_for_batches_padding_and_prefixes():
    found, tally = digests(Model())
    assert found == {RECORDED}
    assert (tally["level"], tally["unpinned"]) == (2, {})


def test_floats_have_several():
    with torch.no_grad():
        assert len({digest(x) for x in ways(Model())}) > 1


@pytest.mark.parametrize(("backend", "strategy"), [("cpu-int8", "mix"), ("emulator", "row")])
def test_a_backend_has_the_bits_of_the_simulation(backend, strategy):
    model = Model()
    with (
        torch.no_grad(),
        accelsim.invariant(model, BETA, backend=backend, strategy=strategy, check=True) as mode,
    ):
        assert digest(model(*padded(1, 1))[0, 1:-1]) == RECORDED
    total = mode.tally.total
    assert total.checked == total.gemms > 0
    assert total.inexact == 0


def test_inference_mode_and_in_place_operators_are_pinned():
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Softmax(-1), nn.SiLU(inplace=True))
    x = torch.rand(4, 8)
    with accelsim.invariant(model, BETA) as mode:
        with torch.no_grad():
            one = model(x)
        with torch.inference_mode():
            other = model(x)
            torch.exp(x, out=x)
    assert torch.equal(one, other)
    assert mode.tally.summary()["unpinned"] == {}


def _tree_by_batch(self, dim, keepdim=False, dtype=None):
    """Sum in two parts, cut where the batch says."""
    cut = len(self) % self.shape[-1]
    parts = self[..., :cut].sum(-1, keepdim=True), self[..., cut:].sum(-1, keepdim=True)
    return (parts[0] + parts[1]) / self.shape[-1]


def test_a_sum_whose_tree_depends_on_the_batch_is_seen(monkeypatch):
    monkeypatch.setitem(operators.OPERATORS, "mean", _tree_by_batch)
    assert len(digests(Model())[0]) > 1


@pytest.mark.parametrize("name", ["silu", "_safe_softmax"])
def test_a_function_of_the_device_is_seen(monkeypatch, name):
    own = getattr(torch.ops.aten, name)
    monkeypatch.setitem(operators.OPERATORS, name, own)
    assert digests(Model())[0] != {RECORDED}


def test_an_operator_that_is_not_pinned_is_named():
    class Cumulative(nn.Module):
        def forward(self, x):
            return x.cumsum(0)

    model = nn.Sequential(nn.Linear(8, 8), nn.Softplus(), nn.Dropout(0.5), Cumulative()).train()
    x = torch.rand(4, 8)
    with torch.no_grad(), accelsim.invariant(model, BETA) as mode:
        model(x).cumprod(0)  # what is done with the results is not the model's
    summary = mode.tally.summary()
    assert summary["level"] == 0
    assert set(summary["unpinned"]) == {"aten::softplus", "aten::bernoulli_", "aten::cumsum"}
    assert "not pinned: aten::softplus (1)" in str(mode.tally)


def test_a_gemm_in_floats_is_named():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    x = torch.rand(4, 8)
    with torch.no_grad(), accelsim.invariant(model, BETA, skip=["1"]) as mode:
        model(x)
    assert list(mode.tally.summary()["unpinned"]) == ["aten::addmm"]


def test_a_scale_that_spans_the_batch_is_seen(tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text('schema: 1\ngemms: {"*": {granularity: tensor}}\n')
    found, tally = digests(Model(), plan=plan)
    assert len(found) > 1
    assert tally["level"] == 0
    assert "head: one scale for a whole operand" in tally["unpinned"]
    with pytest.raises(InputError, match="granularity 'tensor', whose scales span the batch"):
        accelsim.invariant(Model(), BETA, granularity="tensor")


def test_a_scale_of_values_for_each_channel_is_seen(monkeypatch):
    """Without the folding, V's scales lie along the channels and span the tokens."""
    from accelsim.integer_mode import mode

    monkeypatch.setattr(mode, "folds", lambda call: False)
    assert len(digests(Model())[0]) > 1


@pytest.mark.parametrize("granularity", ["row", "tensor"])
def test_a_converted_model_keeps_the_promise_with_scales_by_row(granularity):
    model = Model()
    accelsim.quantize_(model, accelsim.IntegerConfig(BETA, granularity=granularity))
    found, tally = digests(model)
    assert (found == {RECORDED}) == (granularity == "row")
    unpinned = {} if granularity == "row" else {"accelsim::exact_linear"}
    assert set(tally["unpinned"]) == set(unpinned)


def test_sums_over_tokens_in_training_are_named():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    x = torch.rand(4, 8)
    with accelsim.invariant(model, BETA) as mode:
        model(x).sum().backward()
    named = mode.tally.summary()["unpinned"]
    assert set(named) == {"linear, grad_weight: a scale spans the tokens"}


def test_products_of_depth_1_are_single_multiplications():
    class Outer(nn.Module):
        def forward(self, x):
            return x[:, :, None] @ x[:, None, :]

    x = torch.rand(3, 5)
    with torch.no_grad(), accelsim.invariant(Outer(), BETA) as mode:
        assert torch.equal(Outer()(x), x[:, :, None] * x[:, None, :])
        assert torch.equal(mode.model(x), x[:, :, None] * x[:, None, :])
    assert mode.tally.summary()["level"] == 2
