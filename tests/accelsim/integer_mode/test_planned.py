"""Models by a plan: each GEMM gets what the plan says, and globs that match nothing are errors."""

import pytest
import torch
from torch import nn

import accelsim
from accelsim.config.plans import load_plan
from accelsim.errors import InputError


@pytest.fixture
def plan(tmp_path):
    def plan(text):
        path = tmp_path / "plan.yaml"
        path.write_text("schema: 1\ngemms:\n" + text)
        return path

    return plan


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(40, 24), nn.ReLU(), nn.Linear(24, 8))


def products(model, **options):
    """Run with gradients; return the output and the gradients."""
    torch.manual_seed(1)
    x = (torch.randn(6, 40) * torch.logspace(-1, 1, 40)).requires_grad_()
    model.zero_grad()
    with accelsim.integer_gemms(model, **options) as mode:
        y = model(x)
        y.square().sum().backward()
    return [y.detach(), x.grad, *(p.grad.clone() for p in model.parameters())], mode.tally


def same(xs, ys):
    return [torch.equal(x, y) for x, y in zip(xs, ys, strict=True)]


def test_a_plan_for_all_is_the_same_as_arguments(model, plan):
    path = plan("  '*': {beta: 15, gradients: {beta: 255}, percentile: 90, granularity: row}")
    found, _ = products(model, plan=path)
    arguments = {"beta": {"default": 15, "gradients": 255}, "percentile": 90}
    expected, _ = products(model, **arguments, granularity="row")
    assert all(same(found, expected))
    loaded, _ = products(model, plan=load_plan(path), beta=3)
    assert all(same(loaded, expected))


def test_each_gemm_and_phase_gets_its_own(model, plan):
    path = plan("  '2': {weights: {beta: 7}}\n  '0': {beta: 1023, phases: [grad_weight]}")
    found, _ = products(model, plan=path, beta=31)
    expected, _ = products(model, beta=31)
    assert not same(found, expected)[0]
    other = plan("  '0': {beta: 1023, phases: [grad_weight]}")
    found, _ = products(model, plan=other, beta=31)
    output, _, weight, bias, *rest = same(found, expected)
    assert (output, weight, bias, all(rest)) == (True, False, True, True)


def test_unpacking_by_gemm_reaches_the_backend(model, plan):
    path = plan("  '0': {bits: 4, strategy: row, beta: 31}\n  '2': {bits: 8, beta: 31}")
    found, tally = products(model, plan=path, backend="int64", check=True)
    expected, _ = products(model, beta=31)
    assert all(same(found, expected))
    assert (tally.total.checked, tally.total.inexact) == (tally.total.gemms, 0)
    four, eight = (tally.by_place[place, "linear", "forward"].ratio for place in ("0", "2"))
    assert four > eight >= 1


def test_wrong_plans(model, plan):
    path = plan("  '0': {beta: 15}\n  'nothing*': {beta: 15}")
    with pytest.raises(
        InputError, match=r"plan: no GEMM can match 'nothing\*'; layers with weights: 0, 2"
    ):
        products(model, plan=path, beta=15)
    path = plan("  '0': {beta: 15}\n  '2': {weights: {beta: 15}}")
    with pytest.raises(InputError, match=r"^2 \(forward\): the plan gives no beta for its activ"):
        products(model, plan=path)
    with pytest.raises(InputError, match="give beta, or a plan"):
        products(model)
