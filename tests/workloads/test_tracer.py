"""Every GEMM of a model is seen, named, and given its op and phase; and nothing is changed."""

from collections import Counter

import pytest
import torch
from small_models import Attention, Vision, ids, language, loss
from torch import nn
from torch.utils.checkpoint import checkpoint

from accelsim.errors import InputError
from workloads.tracing import Tracer


class Seen(Tracer):
    """Keeps every call, with copies of its operands and what the model made of it."""

    def __init__(self, model):
        super().__init__(model)
        self.calls = []

    def multiply(self, run, multiplication, calls):
        found = [(c, c.a.double(), c.b.double()) for c in calls if c and not c.again]
        result = run()
        fused = multiplication.finish is None
        self.calls += [(*call, None if fused else multiplication) for call in found]
        return result

    @property
    def names(self):
        return [call.name for call, *_ in self.calls]

    @property
    def kinds(self):
        return Counter((call.site.op, call.phase) for call, *_ in self.calls)


def step(model, batch):
    loss(model(batch), batch).backward()


def trace(model, batch, backward=True):
    with Seen(model) as seen:
        if backward:
            step(model, batch)
        else:
            model(batch)
    return seen


def forward_names(blocks=2):
    layers = [*(f"attention.{name}" for name in ("q", "k", "v", "qk", "pv", "o")), "up", "down"]
    return [f"blocks.{block}.{name}" for block in range(blocks) for name in layers] + ["head"]


def all_names(blocks=2):
    forward = forward_names(blocks)
    ends = {"qk": ("dq", "dk"), "pv": ("dp", "dv")}
    gradients = [
        f"{name}.{end}" for name in forward for end in ends.get(name.split(".")[-1], ("dx", "dw"))
    ]
    return sorted(forward + gradients)


VARIANTS = {
    "fused": {},
    "unfused": {"fused": False},
    "grouped": {"kv_heads": 2},
    "grouped unfused": {"kv_heads": 2, "fused": False},
    "multi-query": {"kv_heads": 1},
    "dropout": {"fused": False, "dropout": 0.3},
    "checkpointing": {"checkpointing": "plain"},
    "reentrant checkpointing": {"checkpointing": "reentrant"},
    "unfused checkpointing": {"checkpointing": "plain", "fused": False},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_gemm_is_named(variant):
    seen = trace(language(**VARIANTS[variant]), ids())
    assert sorted(seen.names) == all_names()
    assert not seen.skipped
    assert bool(seen.recomputed) == ("checkpointing" in variant)
    linear, attention = 2 * 6 + 1, 2
    assert seen.kinds == {
        **{("linear", phase): linear for phase in ("forward", "grad_input", "grad_weight")},
        **{
            (op, phase): attention
            for op in ("qk", "pv")
            for phase in ("forward", "grad_input", "grad_weight")
        },
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_are_those_of_their_layer(variant):
    model = language(**VARIANTS[variant])
    seen = trace(model, ids())
    weights = dict(model.named_modules())
    checked = 0
    for call, a, b, _ in seen.calls:
        if call.site.op == "linear" and call.phase == "grad_weight" and call.name != "head.dw":
            gradient = weights[call.site.layer].weight.grad
            torch.testing.assert_close((a @ b.mT).float(), gradient, rtol=1e-4, atol=1e-6)
            checked += 1
        if call.site.op == "linear" and call.phase in ("forward", "grad_input"):
            weight = weights[call.site.layer].weight.double()
            assert torch.equal(b, weight if call.phase == "forward" else weight.mT)
    assert checked == 12


@pytest.mark.parametrize("variant", ["fused", "unfused", "grouped", "checkpointing"])
def test_attention_gradients_fit_together(variant):
    """The gradients' operands are those of the forward pass, transposed."""
    seen = trace(language(**VARIANTS[variant]), ids())
    operands = {call.name: (a, b) for call, a, b, _ in seen.calls}
    for block in range(2):
        q, k = operands[f"blocks.{block}.attention.qk"]
        p, vt = operands[f"blocks.{block}.attention.pv"]
        d_s, kt = operands[f"blocks.{block}.attention.qk.dq"]
        d_st, qt = operands[f"blocks.{block}.attention.qk.dk"]
        d_o, v = operands[f"blocks.{block}.attention.pv.dp"]
        d_ot, pt = operands[f"blocks.{block}.attention.pv.dv"]
        for found, expected in ((kt, k.mT), (qt, q.mT), (v, vt.mT), (pt, p.mT)):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(d_st, d_s.mT, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(d_ot, d_o.mT)
        # dS = scale * P * (dP - rowsum(P * dP)): a softmax's gradient sums to 0 in every row.
        assert float(d_s.sum(-1).abs().max()) < 1e-6
        d_p = d_o @ v.mT
        scale = 3**-0.5
        expected = scale * p * (d_p - (p * d_p).sum(-1, keepdim=True))
        torch.testing.assert_close(d_s, expected, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_bit_changes(variant):
    plain, traced = language(**VARIANTS[variant]), language(**VARIANTS[variant])
    batch = ids()
    torch.manual_seed(5)
    expected = plain(batch)
    loss(expected, batch).backward()
    torch.manual_seed(5)
    with Seen(traced):
        found = traced(batch)
        loss(found, batch).backward()
    assert torch.equal(found, expected)
    for name, parameter in plain.named_parameters():
        assert torch.equal(parameter.grad, traced.get_parameter(name).grad), name


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("fused", [True, False])
def test_inference(guard, fused):
    model = language(fused=fused).eval()
    expected = model(ids())
    with guard(), Seen(model) as seen:
        found = model(ids())
    assert sorted(seen.names) == sorted(forward_names())
    assert torch.equal(found, expected)


@pytest.mark.parametrize("fused", [True, False])
def test_autocast(fused):
    model = language(fused=fused)
    with Seen(model) as seen, torch.autocast("cpu", torch.bfloat16):
        step(model, ids())
    assert sorted(seen.names) == all_names()
    assert {call.a.dtype for call, *_ in seen.calls} == {torch.bfloat16}


def test_square_operands_of_a_layer_with_a_frozen_weight():
    """Shapes tell nothing here, and there is one gradient instead of two."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6))
    model[1].weight.requires_grad_(False)
    with Seen(model) as seen:
        model(torch.randn(6, 6)).square().sum().backward()
    assert seen.names == ["0", "1", "2", "2.dx", "2.dw", "1.dx", "0.dw"]


@pytest.mark.parametrize("reentrant", [True, False])
def test_square_operands_under_checkpointing(reentrant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    x = torch.randn(6, 6, requires_grad=True)
    with Seen(model) as seen:
        checkpoint(model, x, use_reentrant=reentrant).square().sum().backward()
    assert sorted(seen.names) == ["0", "0.dw", "0.dx", "1", "1.dw", "1.dx"]
    for call, a, b, _ in seen.calls:
        if call.phase == "grad_weight":
            gradient = model[int(call.site.layer)].weight.grad
            torch.testing.assert_close((a @ b.mT).float(), gradient)


@pytest.mark.parametrize("side", ["second", "first"])
def test_squares_of_products_with_free_operands(side):
    """A weight that stands first: C.T = W @ X.T; A stays the activation."""
    torch.manual_seed(0)

    class Free(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.randn(5, 5))

        def forward(self, x):
            return x @ self.w if side == "second" else self.w @ x

    model = Free()
    x = torch.randn(5, 5, requires_grad=True)
    with Seen(model) as seen:
        model(x).square().sum().backward()
    by_name = {call.phase: (a, b) for call, a, b, _ in seen.calls}
    w = model.w.detach()
    expected = (x.detach(), w.mT) if side == "second" else (x.detach().mT, w)
    assert torch.equal(by_name["forward"][0].float(), expected[0])
    assert torch.equal(by_name["forward"][1].float(), expected[1])
    gradients = {"grad_input": x.grad, "grad_weight": model.w.grad}
    for phase, gradient in gradients.items():
        a, b = by_name[phase]
        product = (a @ b.mT).float()
        transposed = (phase == "grad_weight") == (side == "second")
        torch.testing.assert_close(product.mT if transposed else product, gradient)


def test_a_layer_that_is_used_twice():
    torch.manual_seed(0)
    layer = nn.Linear(4, 4)
    with Seen(nn.Sequential(layer, nn.Tanh(), layer)) as seen:
        seen.model(torch.randn(3, 4)).sum().backward()
    assert sorted(seen.names) == ["0", "0#2", "0#2.dw", "0#2.dx", "0.dw"]


def test_a_vision_transformer():
    torch.manual_seed(0)
    model = Vision()
    with Seen(model) as seen:
        model(torch.randn(2, 3, 8, 8)).sum().backward()
    names = {"patch_embed", "qkv", "qk", "pv", "proj", "head"}
    assert {call.site.name for call, *_ in seen.calls} == names
    assert "patch_embed.dw" in seen.names
    assert "patch_embed.dx" not in seen.names
    by_name = {call.name: (a, b) for call, a, b, _ in seen.calls}
    a, b = by_name["patch_embed.dw"]
    gradient = model.patch_embed.weight.grad.flatten(1)
    torch.testing.assert_close((a @ b.mT).float(), gradient, rtol=1e-4, atol=1e-5)


def test_a_compiled_model():
    model = language()
    compiled = torch.compile(model)
    expected = model(ids())
    with Seen(compiled) as seen:
        found = compiled(ids())
        loss(found, ids()).backward()
    assert sorted(seen.names) == all_names()
    assert torch.equal(found, expected)


@pytest.mark.parametrize("training", [True, False])
def test_torch_s_own_encoder(training):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(12, 3, 24, batch_first=True, dropout=0.0)
    model = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False).train(training)
    with Seen(model) as seen, torch.set_grad_enabled(training):
        model(torch.randn(2, 5, 12))
    assert not seen.skipped
    assert [call.site.op for call, *_ in seen.calls] == [
        *("linear", "qk", "pv"),
        *["linear"] * 3,
    ]


def test_products_that_are_no_attention():
    """Two activations are multiplied, and no softmax follows: no `qk`."""
    with Seen(nn.Identity()) as seen:
        torch.randn(3, 4) @ torch.randn(4, 5)
    (call,) = (call for call, *_ in seen.calls)
    assert (call.name, call.site.op) == ("matmul", "linear")


def test_gradients_of_what_ran_before():
    model = nn.Linear(3, 4)
    y = model(torch.randn(2, 3))
    with Seen(model) as seen:
        y.sum().backward()
    assert not seen.calls
    assert any("did not run inside the context" in reason for reason in seen.skipped)


def test_custom_autograd_functions():
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x @ w.mT

        @staticmethod
        def backward(ctx, gradient):
            x, w = ctx.saved_tensors
            return gradient @ w, gradient.mT @ x

    class Custom(nn.Linear):
        def forward(self, x):
            return Product.apply(x, self.weight)

    model = nn.Sequential(Custom(5, 5), Custom(5, 5))
    with Seen(model) as seen:
        model(torch.randn(5, 5)).sum().backward()
    assert seen.names == ["0", "1", "1.dx", "1.dw", "0.dx", "0.dw"]


@pytest.mark.filterwarnings("ignore:Using backward\\(\\) with create_graph")
@pytest.mark.parametrize("checkpointing", [None, "plain", "reentrant"])
def test_gradients_that_are_differentiated_again(checkpointing):
    """`create_graph` enables gradients in the backward pass, as checkpointing does."""
    model, batch = language(checkpointing=checkpointing), ids()
    if checkpointing == "reentrant":  # which refuses torch.autograd.grad
        with Seen(model) as seen:
            loss(model(batch), batch).backward(create_graph=True)
    else:
        with Seen(model) as seen:
            value = loss(model(batch), batch)
            torch.autograd.grad(value, list(model.parameters()), create_graph=True)
    assert sorted(seen.names) == all_names()
    assert not seen.skipped
    assert bool(seen.recomputed) == bool(checkpointing)


def test_gradients_of_gradients():
    """They are gradients of the backward pass's own products, and named after these."""
    model, x = nn.Linear(4, 3), torch.randn(2, 4, requires_grad=True)
    with Seen(nn.Sequential(model)) as seen:
        (gradient,) = torch.autograd.grad(seen.model(x).square().sum(), x, create_graph=True)
        gradient.square().sum().backward()
    assert sorted(seen.names) == ["0", "0.dw", "0.dx", "0.dx#2", "0.dx.dw", "0.dx.dx"]
    assert not seen.skipped


def test_a_cache_in_a_buffer_is_no_weight():
    class Cached(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k = nn.Linear(8, 8), nn.Linear(8, 8)
            self.register_buffer("cache", torch.zeros(6, 8))

        def forward(self, x):
            self.cache[:4] = self.k(x)
            return (self.q(x) @ self.cache.mT).softmax(-1) @ self.cache

    with Seen(Cached()) as seen, torch.no_grad():
        seen.model(torch.randn(4, 8))
        seen.model(torch.randn(4, 8))
    ops = [call.site.op for call, *_ in seen.calls]
    assert ops == ["linear", "linear", "qk", "pv"] * 2


@pytest.mark.parametrize("how", ["data", "assign", "functional"])
def test_weights_that_are_put_in_their_place_inside(how):
    layer = nn.Linear(4, 3)
    others = {name: torch.randn_like(value) for name, value in layer.state_dict().items()}
    x = torch.randn(2, 4)
    with Seen(nn.Sequential(layer)) as seen:
        if how == "data":
            layer.weight.data = others["weight"]
        elif how == "assign":
            layer.load_state_dict(others, assign=True)
        if how == "functional":
            named = {f"0.{name}": value for name, value in others.items()}
            torch.func.functional_call(seen.model, named, (x,))
        else:
            seen.model(x)
    assert seen.names == ["0"]
    assert seen.calls[0][0].site.op == "linear"


def test_weights_that_autocast_has_converted_before():
    layer, x = nn.Linear(4, 3), torch.randn(2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        layer(x)
        with Seen(nn.Sequential(layer)) as seen:
            seen.model(x)
    assert seen.names == ["0"]


def test_an_optimizers_step_leaves_weights_weights():
    model = nn.Sequential(nn.Linear(4, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)
    with Seen(model) as seen:
        model(torch.randn(2, 4)).sum().backward()
        optimizer.step()
        model(torch.randn(2, 4))
    assert seen.names == ["0", "0.dw", "0#2"]


def test_torchscript_is_refused():
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        model = torch.jit.script(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(InputError, match="compiled by TorchScript"), Seen(model):
        pass
    with Seen(nn.Linear(2, 2)) as seen:  # the refusal has left nothing behind
        seen.model(torch.ones(1, 2))
    assert len(seen.calls) == 1


def test_a_context_inside_itself_is_refused():
    model, x = nn.Linear(2, 2), torch.ones(1, 2)
    with Seen(model) as seen:
        with pytest.raises(InputError, match="entered already"), seen:
            pass
        model(x)
    model(x)
    assert len(seen.calls) == 1
    assert not model._forward_hooks
    with seen:  # one after the other is fine
        model(x)
    assert len(seen.calls) == 2


def test_everything_is_put_back():
    model = Attention()
    fast = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(RuntimeError, match="shape"), Seen(model):
        model(torch.randn(1, 2, 11))
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    seen = Seen(model)
    model(torch.randn(1, 2, 12))
    assert not seen.calls


def test_an_error_inside_a_module_does_not_shift_the_names():
    class Failing(nn.Module):
        def forward(self, x):
            raise ValueError("failed")

    model = nn.ModuleDict({"failing": Failing(), "layer": nn.Linear(2, 2)})
    with Seen(model) as seen:
        with pytest.raises(ValueError, match="failed"):
            model["failing"](torch.ones(1, 2))
        torch.ones(1, 2) @ torch.ones(2, 2)
        model["layer"](torch.ones(1, 2))
    assert seen.names == ["matmul", "layer"]
