"""Every multiplication of a model is in integers, the same GEMMs in capture and in integer mode.

With a beta so large that rounding is no more than a float's own, integer mode gives the float
result; a wrong operand, place or shape gives another.
"""

import threading
from collections import Counter

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, hessian, jacrev, vmap

import accelsim
from accelsim.integer_mode import IntegerGemms
from workloads import open_bundle
from workloads.capture import Capture

FINE = {"beta": 2.0**22, "percentile": 100, "exact": "simulate"}


class Calls(nn.Module):
    """A function of the input and of some parameters, as a module."""

    def __init__(self, function, *shapes):
        super().__init__()
        self.function = function
        self.parameters_ = nn.ParameterList(nn.Parameter(torch.randn(*shape)) for shape in shapes)

    def forward(self, x):
        return self.function(x, *self.parameters_)


class Recurrent(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


def experts(x, first, second):
    ends = torch.tensor([2, 2, 7], dtype=torch.int32)
    hidden = torch._grouped_mm(x, first.mT, offs=ends)
    return torch._grouped_mm(hidden.relu(), second.mT, offs=ends)


MODELS = {
    "lstm": (lambda: Recurrent(nn.LSTM(5, 4, 2, bidirectional=True)), (6, 3, 5), 2 * 2 * 7),
    "lstm, batch first": (lambda: Recurrent(nn.LSTM(5, 4, batch_first=True)), (3, 6, 5), 7),
    "gru": (lambda: Recurrent(nn.GRU(5, 4)), (6, 3, 5), 7),
    "rnn": (lambda: Recurrent(nn.RNN(5, 4)), (6, 3, 5), 7),
    "lstm cell": (lambda: Recurrent(nn.LSTMCell(5, 4)), (3, 5), 2),
    "bilinear": (
        lambda: Calls(lambda x, w: nn.functional.bilinear(x, x, w), (7, 4, 4)),
        (6, 4),
        2,
    ),
    "dot": (lambda: Calls(lambda x, w: x.flatten() @ w, (12,)), (3, 4), 1),
    "mv": (lambda: Calls(lambda x, w: x @ w, (4,)), (3, 4), 1),
    "addbmm": (
        lambda: Calls(lambda x, w: torch.addbmm(torch.ones(5), x, w), (2, 4, 5)),
        (2, 3, 4),
        1,
    ),
    "experts": (lambda: Calls(experts, (3, 8, 16), (3, 4, 8)), (7, 16), 4),
    "overlapping": (lambda: nn.Conv2d(3, 5, 3, padding=1), (2, 3, 6, 5), 1),
    "depthwise": (lambda: nn.Conv2d(6, 6, 3, groups=6), (2, 6, 6, 5), 1),
    "dilated": (lambda: nn.Conv1d(4, 6, 3, dilation=2, groups=2), (2, 4, 9), 1),
    "transposed": (lambda: nn.ConvTranspose2d(3, 5, 3, 2, 1, 1), (2, 3, 4, 5), 1),
    "einsum": (
        lambda: Calls(lambda x, a, b: torch.einsum("bi,ij,jk->bk", x, a, b), (4, 5), (5, 6)),
        (3, 4),
        2,
    ),
}


def values(model, x, *contexts):
    """Return the output and all gradients, of the input as well."""
    x = x.clone().requires_grad_()
    model.zero_grad()
    for context in contexts:
        context.__enter__()
    out = model(x)
    out.square().sum().backward()
    for context in contexts:
        context.__exit__(None, None, None)
    return [out.detach(), x.grad, *(p.grad.clone() for p in model.parameters())]


class Named(IntegerGemms):
    """Integer mode that keeps the name, op and phase of every product."""

    @classmethod
    def of(cls, model, **options):
        mode = accelsim.integer_gemms(model, **{**FINE, **options})
        mode.__class__, mode.seen = cls, []
        return mode

    def product(self, call):
        self.seen.append((call.name, call.site.op, call.phase))
        return super().product(call)


def close(found, expected, rtol=1e-4, atol=1e-5):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=atol)
        assert one.stride() == other.stride()


@pytest.mark.parametrize("name", MODELS)
def test_every_product_is_in_integers(name, tmp_path):
    torch.manual_seed(0)
    make, shape, forward = MODELS[name]
    model, x = make(), torch.randn(*shape)
    expected = values(model, x)
    mode = Named.of(model)
    close(values(model, x, mode), expected)
    assert mode.tally.sum(lambda phase: phase == "forward").gemms == forward
    assert not mode.skipped
    assert mode.tally.coverage == 1
    path = tmp_path / "it.safetensors"
    capture = Capture(model, path)
    close(values(model, x, capture), expected)
    assert not capture.skipped
    assert mode.seen == [(g.name, g.op, g.phase) for g in open_bundle(path).gemms]


def test_a_coarse_beta_makes_a_difference():
    """The comparison above would notice a product that stayed in floats."""
    for name, (make, shape, _) in MODELS.items():
        torch.manual_seed(0)
        model, x = make(), torch.randn(*shape)
        coarse = values(model, x, accelsim.integer_gemms(model, **{**FINE, "beta": 2}))
        for one, other in zip(coarse, values(model, x), strict=True):
            if one.ndim > 1 and other.any():
                assert not torch.allclose(one, other, rtol=1e-3), name


@pytest.mark.parametrize("name", ["lstm", "gru", "bilinear", "transposed"])
def test_what_is_not_chosen_keeps_its_bits(name):
    torch.manual_seed(0)
    make, shape, _ = MODELS[name]
    model, x = make(), torch.randn(*shape)
    mode = accelsim.integer_gemms(model, gemms=[], **FINE)
    for one, other in zip(values(model, x), values(model, x, mode), strict=True):
        assert torch.equal(one, other)
    assert mode.tally.total.gemms == 0
    assert mode.tally.coverage in (0, None)


def penalty(model, x):
    """A gradient of a gradient, as in a gradient penalty."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
    gradient.square().sum().backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def per_sample(model, x):
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights, sample):
        return functional_call(model, weights, (sample[None],)).square().sum()

    return list(vmap(grad(loss), in_dims=(None, 0))(weights, x).values())


def jacobian(model, x):
    return [jacrev(lambda sample: model(sample[None])[0])(x[0])]


def curvature(model, x):
    return [hessian(lambda sample: model(sample[None]).square().sum())(x[0])]


def perceptron():
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def convolutions():
    return nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(20, 3))


@pytest.mark.parametrize("derive", [penalty, per_sample, jacobian, curvature])
@pytest.mark.parametrize(("make", "shape"), [(perceptron, (5, 4)), (convolutions, (3, 2, 5))])
def test_derivatives_of_every_kind(make, shape, derive):
    torch.manual_seed(0)
    model, x = make(), torch.randn(*shape)
    expected = derive(model, x)
    model.zero_grad()
    mode = accelsim.integer_gemms(model, **FINE)
    with mode:
        found = derive(model, x)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert not mode.skipped
    assert mode.tally.total.gemms >= 4
    with accelsim.integer_gemms(model, **{**FINE, "beta": 2}):
        coarse = derive(model, x)
    assert not any(torch.allclose(a, b, rtol=1e-3) for a, b in zip(coarse, expected, strict=True))


def encoder():
    layer = nn.TransformerEncoderLayer(12, 4, 24, batch_first=True)
    return nn.TransformerEncoder(layer, 2).eval()


@pytest.mark.parametrize("mask", [None, torch.arange(5) >= torch.tensor([[5], [3]])])
@pytest.mark.filterwarnings("ignore:.*prototype")
def test_the_fused_path_of_torch_s_encoder(mask):
    torch.manual_seed(0)
    model, x = nn.Sequential(encoder()), torch.randn(2, 5, 12)
    with torch.no_grad():
        expected = model[0](x, src_key_padding_mask=mask)
        with Named.of(model) as mode:
            found = model[0](x, src_key_padding_mask=mask)
        keep = slice(None) if mask is None else ~mask
        torch.testing.assert_close(found[keep], expected[keep], rtol=1e-4, atol=1e-5)
        assert Counter(op for _, op, _ in mode.seen) == {"linear": 8, "qk": 2, "pv": 2}
        assert not mode.skipped
        with Capture(model) as capture:
            model[0](x, src_key_padding_mask=mask)
        assert [(g.described.name, g.described.op) for g in capture.gemms] == [
            (name, op) for name, op, _ in mode.seen
        ]


def test_the_fused_path_elsewhere_keeps_its_bits():
    torch.manual_seed(0)
    model, other, x = nn.Linear(12, 12), encoder(), torch.randn(2, 5, 12)
    with torch.no_grad():
        expected = other(x)
        both = nn.ModuleList([model, other])
        with accelsim.integer_gemms(both, gemms=["0"], **FINE) as mode:
            assert torch.equal(other(x), expected)
            model(x)
    assert mode.tally.total.gemms == 1
    assert torch.backends.mha.get_fastpath_enabled()


def test_attention_that_is_not_chosen_keeps_its_kernel():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(12, 3, batch_first=True)
    model, x = nn.ModuleDict({"a": attention}), torch.randn(2, 5, 12)
    kernels = []

    class Fused(Named):
        def multiply(self, run, multiplication, calls):
            kernels.append(multiplication.finish is None)
            return super().multiply(run, multiplication, calls)

    for ops, expected in ((["linear"], True), (["qk", "pv", "linear"], False)):
        kernels.clear()
        mode = Named.of(model, ops=ops)
        mode.__class__ = Fused
        with mode:
            attention(x, x, x, need_weights=False)[0].sum().backward()
        assert any(kernels) == expected
        assert not mode.skipped
        macs = mode.tally.not_chosen.macs
        each = 3 * 2 * 3 * 25 * 4
        assert macs == ({"a.qk": each, "a.pv": each} if expected else {})


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize(("batch_first", "heads"), [(True, 3), (False, 3), (True, 1)])
@pytest.mark.parametrize("mask", [None, torch.zeros(2, 5, dtype=torch.bool)])
def test_attention_has_the_strides_of_its_fused_path(mask, batch_first, heads, need_weights, grad):
    """In inference and batch first it runs as one operator, else as its steps."""
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(12, heads, batch_first=batch_first).eval()
    x = torch.randn(*((2, 5) if batch_first else (5, 2)), 12)
    options = {"key_padding_mask": mask, "need_weights": need_weights}
    with torch.set_grad_enabled(grad):
        expected = attention(x, x, x, **options)
        with Named.of(attention) as mode:
            found = attention(query=x, key=x, value=x, **options)
        with Capture(attention) as capture:
            captured = attention(x, x, x, **options)
    assert Counter(op for _, op, _ in mode.seen) == {"linear": 2, "qk": 1, "pv": 1}
    assert len(capture.gemms) == 4
    for result in (found, captured):
        torch.testing.assert_close(result[0], expected[0], rtol=1e-3, atol=1e-4)
        assert result[0].stride() == expected[0].stride()
        assert (result[1] is None) == (expected[1] is None)
        if need_weights:
            assert result[1].stride() == expected[1].stride()


def in_another_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_modules_in_another_thread_are_followed():
    model, x = perceptron(), torch.randn(5, 4)
    with Named.of(model) as mode:
        out = in_another_thread(lambda: model(x))
        out.square().sum().backward()
    assert sorted(name for name, *_ in mode.seen) == ["0", "0.dw", "2", "2.dw", "2.dx"]
    assert not mode.skipped
    in_another_thread(lambda: model(x))
    assert mode.tally.total.gemms == 5


def test_a_backward_pass_in_another_thread_is_reported():
    model, x = perceptron(), torch.randn(5, 4)
    with Named.of(model) as mode:
        out = model(x)
        in_another_thread(lambda: out.square().sum().backward())
    assert list(mode.skipped) == ["a backward pass in another thread than the context's"]
    assert mode.tally.skipped.unknown.total() == 1


def test_a_backward_pass_after_the_context_is_nobody_s():
    model, x = perceptron(), torch.randn(5, 4)
    with Named.of(model) as mode:
        out = model(x)
    out.square().sum().backward()
    assert not mode.skipped


@pytest.mark.parametrize(("dtype", "coverage"), [(torch.int64, 1), (torch.complex64, 0.5)])
def test_products_of_integers_are_not_left_in_floats(dtype, coverage):
    model = Calls(lambda x, w: (x @ w, x.to(dtype) @ w.to(dtype)), (4, 5))
    with torch.no_grad(), accelsim.integer_gemms(model, **FINE) as mode:
        model(torch.randn(3, 4))
    assert len(mode.skipped) == 1
    assert mode.tally.coverage == coverage


SHAPES = [(3, 8), (2, 3, 8), (8,), (1, 1, 8), (0, 8)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_linear_layer_is_the_same_whether_autograd_takes_it_apart_or_not(shape, context):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4, bias=False))
    x = torch.randn(shape)
    with accelsim.integer_gemms(model, beta=31) as apart:
        expected = model(x).detach()
    with context(), accelsim.integer_gemms(model, beta=31) as whole:
        assert torch.equal(model(x), expected)
    assert whole.tally.by_place == apart.tally.by_place
    assert not whole.skipped


def test_a_hook_of_the_users_may_use_autograd_inside_a_linear_layer():
    model = nn.Sequential(nn.Linear(8, 4))
    gradients = []

    def hook(module, inputs, result):
        with torch.enable_grad():
            y = torch.ones(3, requires_grad=True)
            (y * y).sum().backward()
            gradients.append(y.grad)

    model[0].register_forward_hook(hook)
    with torch.no_grad(), accelsim.integer_gemms(model, beta=31):
        model(torch.randn(2, 8))
    assert torch.equal(gradients[0], torch.full((3,), 2.0))


@pytest.mark.parametrize("grad", [True, False])
def test_weights_that_autocast_shortens_are_still_weights(grad):
    model = nn.Linear(16, 8)
    mode = accelsim.integer_gemms(model, beta=31, ops=("linear",))
    with torch.set_grad_enabled(grad), torch.autocast("cpu", torch.bfloat16), mode:
        model(torch.randn(4, 16))
    assert mode.tally.total.gemms == 1
