"""Operators that pass unseen change nothing: the same products, names, origins and bits."""

import ctypes
from collections import Counter

import pytest
import torch
from small_models import Attention, Vision, ids, language, loss
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from accelsim.kernels import cpp
from workloads.tracing import Tracer, passing, tracer


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    cpp.build(passing.SOURCE)
    passing._library.cache_clear()
    yield
    passing._library.cache_clear()


class Told(Tracer):
    """Keeps all there is to know of every product, and how many operators came to the mode."""

    def __init__(self, model):
        super().__init__(model)
        self.products, self.operators = [], Counter()

    def multiply(self, run, multiplication, calls):
        for call in calls:
            if call is None:
                self.products.append(None)
                continue
            a, b = (x.detach().to(torch.float64, copy=True) for x in (call.a, call.b))
            origins = self._lineage.of(call.a), self._lineage.of(call.b)
            facts = call.name, call.site.op, call.phase, call.flipped, call.again, origins
            self.products.append((facts, a, b, self._running.nodes))
        return run()

    def _dispatch(self, mode, func, args, kwargs):
        self.operators[str(func)] += 1
        return super()._dispatch(mode, func, args, kwargs)


def language_step(variant):
    model, batch = language(**variant), ids()
    return model, lambda: loss(model(batch), batch).backward()


def inference(model, *inputs, guard=torch.no_grad):
    def run():
        with guard():
            return model.eval()(*inputs)

    return model, run


class Merged(nn.Module):
    """Weights that are made of weights: cast, scaled, normalized, merged, gathered, joined."""

    def __init__(self):
        super().__init__()
        self.base = nn.Parameter(torch.randn(12, 12))
        self.a, self.b = nn.Parameter(torch.randn(3, 12)), nn.Parameter(torch.randn(12, 3))
        self.experts = nn.Parameter(torch.randn(4, 12, 12))
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(12, 12))
        self.register_buffer("cache", torch.zeros(5, 12))

    def forward(self, x):
        x = x @ (self.base + self.b @ self.a).to(torch.float64).float().T
        x = torch.einsum("nd,ehd->neh", x, self.experts[torch.tensor([2, 0])]).mean(1)
        x = self.normed(x) @ torch.cat([self.base, self.base.tanh()]).mT[:, ::2]
        self.cache.copy_(x)
        p = ((x @ self.cache.mT).softmax(-1) * 2).half().float()
        return (p @ self.cache).relu() + self.base[torch.arange(5)].sum()


def merged(guard):
    torch.manual_seed(1)
    return inference(Merged(), torch.randn(5, 12), guard=guard)


def recurrent():
    torch.manual_seed(1)
    return inference(nn.LSTM(12, 8, num_layers=2), torch.randn(4, 2, 12))


def encoder():
    torch.manual_seed(1)
    layer = nn.TransformerEncoderLayer(12, 3, 24, batch_first=True)
    return inference(nn.TransformerEncoder(layer, 2), torch.randn(2, 5, 12))


def autocast_step():
    model, batch = language(fused=False), ids()

    def run():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss(model(batch), batch).backward()

    return model, run


def optimizer_steps():
    model, batch = language(), ids()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)

    def run():
        for _ in range(2):
            optimizer.zero_grad()
            loss(model(batch), batch).backward()
            optimizer.step()

    return model, run


def transforms():
    torch.manual_seed(1)
    model, x = Attention(fused=False), torch.randn(3, 2, 5, 12)
    weights = dict(model.named_parameters())

    def run():
        def value(weights, x):
            return torch.func.functional_call(model, weights, (x,)).pow(2).mean()

        torch.func.vmap(torch.func.grad(value), in_dims=(None, 0))(weights, x)

    return model, run


def second_order():
    torch.manual_seed(1)
    model, x = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), torch.randn(6, 4)

    def run():
        inputs = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(inputs).sum(), inputs, create_graph=True)
        gradient.pow(2).sum().backward()

    return model, run


CASES = {
    "training": lambda: language_step({}),
    "unfused training": lambda: language_step({"fused": False, "dropout": 0.3}),
    "checkpointing": lambda: language_step({"checkpointing": "plain", "fused": False}),
    "reentrant checkpointing": lambda: language_step({"checkpointing": "reentrant"}),
    "grouped inference": lambda: inference(language(kv_heads=2, fused=False), ids()),
    "inference mode": lambda: inference(language(), ids(), guard=torch.inference_mode),
    "vision": lambda: inference(Vision(), torch.randn(2, 3, 16, 16, generator=seeded())),
    "merged weights": lambda: merged(torch.no_grad),
    "merged weights, inference mode": lambda: merged(torch.inference_mode),
    "recurrent": recurrent,
    "encoder": encoder,
    "autocast": autocast_step,
    "optimizer": optimizer_steps,
    "transforms": transforms,
    "second order": second_order,
}


def seeded():
    return torch.Generator().manual_seed(2)


def told(case, monkeypatch, passes):
    with monkeypatch.context() as patch:
        if not passes:
            patch.setattr(tracer, "passing_for", lambda model: None)
        model, run = CASES[case]()
        torch.manual_seed(7)
        with Told(model) as seen:
            assert (seen._passing is not None) == passes
            run()
            run()
    gradients = [p.grad for p in model.parameters()]
    return seen, [g for g in gradients if g is not None]


def same(case, monkeypatch):
    """Whether a case is the same with and without operators that pass; and both of its tracers."""
    plain, expected = told(case, monkeypatch, passes=False)
    seen, gradients = told(case, monkeypatch, passes=True)
    found = zip(seen.products, plain.products, strict=False)
    return (
        len(seen.products) == len(plain.products)
        and all(_equal(x, y) for x, y in found)
        and (seen.left, seen.recomputed) == (plain.left, plain.recomputed)
        and all(map(torch.equal, gradients, expected))
    ), (seen, plain)


def _equal(x, y):
    if x is None or y is None:
        return x is y
    return x[0] == y[0] and all(map(torch.equal, x[1:3], y[1:3])) and len(x[3]) == len(y[3])


@pytest.mark.parametrize("case", CASES)
def test_nothing_changes(case, monkeypatch):
    equal, (seen, plain) = same(case, monkeypatch)
    assert equal
    assert plain.products
    assert set(seen.operators) <= set(plain.operators)
    if case not in ("autocast", "transforms", "inference mode", "merged weights, inference mode"):
        assert seen.operators.total() < 0.7 * plain.operators.total()


def test_origins_that_are_not_told_are_missed(monkeypatch):
    """Broken on purpose: operators pass whose results are weights or probabilities."""
    monkeypatch.setattr(passing.Passing, "mark", lambda self, storage, origin: None)
    for case in ("merged weights", "unfused training"):
        equal, _ = same(case, monkeypatch)
        assert not equal


WRONG = {
    "a product passes": ("aten::mm", "", 0, -1, "training"),
    "a product with a bias passes": ("aten::addmm", "", 0, -1, "second order"),
    "a softmax passes": ("aten::_softmax", "", 0, -1, "grouped inference"),
    "a write passes": ("aten::copy_", "", 0, -1, "merged weights"),
    "a new tensor is a view": ("aten::tanh", "", passing.VIEW, 0, "merged weights"),
    "experts are not gathered": ("aten::index", "Tensor", 0, passing.GATHERS, "merged weights"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_facts_of_an_operator_are_found(name, monkeypatch):
    """Broken on purpose: what passes must be seen for a product, a name, or an origin."""
    operator, overload, wrong, right, case = WRONG[name]
    assert same(case, monkeypatch)[0]

    def tell(facts):
        names = operator.encode(), overload.encode()
        library = passing._library(False)
        assert library.accelsim_passing_operator(*names, ctypes.c_int64(facts)) == 0

    tell(wrong)
    try:
        assert not same(case, monkeypatch)[0]
    finally:
        tell(right)
    assert same(case, monkeypatch)[0]


def test_another_mode_sees_every_operator(monkeypatch):
    model, seen = language(fused=False), []
    for patched in (False, True):
        if patched:
            monkeypatch.setattr(tracer, "passing_for", lambda model: None)
        with torch.no_grad(), Told(model):
            model(ids())
            with FlopCounterMode(display=False) as flops, Counts() as counts:
                model(ids())
        seen.append((flops.get_total_flops(), counts.seen))
    assert seen[0] == seen[1]


class Counts(TorchDispatchMode):
    """Counts operators."""

    def __init__(self):
        super().__init__()
        self.seen = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen[str(func)] += 1
        return func(*args, **(kwargs or {}))


def test_nothing_passes_after_the_context():
    model, batch = language(), ids()
    with torch.no_grad():
        with Counts() as before:
            model(batch)
        with Told(model) as during:
            model(batch)
        with Counts() as after:
            model(batch)
    assert during.operators.total() < before.seen.total()
    assert before.seen == after.seen


def test_of_two_contexts_both_see_all(monkeypatch):
    model, batch = language(fused=False), ids()
    with torch.no_grad(), Told(model) as outer:
        model(batch)
        before = len(outer.products)
        with Told(model) as inner:
            model(batch)
        model(batch)
    assert len(inner.products) == before
    assert len(outer.products) == 3 * before
    names = [facts[0] for facts, *_ in outer.products[-before:]]
    assert names == [f"{facts[0]}#3" for facts, *_ in outer.products[:before]]
