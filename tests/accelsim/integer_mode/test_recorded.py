"""A model that is recorded inside of a context, to run later: nothing becomes a constant."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

import accelsim
from accelsim.errors import InputError
from workloads import open_bundle
from workloads.capture import Capture

sys.path.insert(0, str(Path(__file__).parents[2] / "workloads"))
from small_models import Attention

MODES = {
    "integers": lambda model: accelsim.integer_gemms(model, 63),
    "backend": lambda model: accelsim.integer_gemms(model, 63, backend="int64", check=True),
    "invariant": lambda model: accelsim.invariant(model, 63),
    "capture": Capture,
}


def models():
    torch.manual_seed(0)
    return {
        "mlp": nn.Sequential(nn.Linear(12, 20), nn.LayerNorm(20), nn.GELU(), nn.Linear(20, 7)),
        "attention": nn.Sequential(Attention(12), nn.Softmax(-1)),
        "convolution": nn.Sequential(nn.Unflatten(-1, (3, 4)), nn.Conv2d(5, 6, 3, padding=1)),
        "solver": nn.Sequential(nn.Linear(12, 5), Solver()),
    }


class Solver(nn.Module):
    """Operators whose GEMMs are in LAPACK's routines."""

    def forward(self, x):
        return torch.linalg.solve(x @ x.mT + torch.eye(5), x)


class Exported:
    """Records by `torch.export`."""

    def __new__(cls, model):
        return lambda x: torch.export.export(model, (x,)).module()


RECORDERS = {
    "make_fx": make_fx,
    "before dispatch": lambda model: make_fx(model, pre_dispatch=True),
    "export": Exported,
}


@pytest.mark.parametrize("record", RECORDERS.values(), ids=RECORDERS)
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("name", models())
def test_a_recorded_model_computes_with_its_new_input(name, mode, record):
    model = models()[name].eval()
    first, then = torch.randn(2, 5, 12), torch.randn(2, 5, 12)
    with torch.no_grad():
        plain = model(then)
        with mode(model):
            recorded = record(model)(first)
        torch.testing.assert_close(recorded(then), plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("record", [make_fx, RECORDERS["before dispatch"]])
def test_what_was_recorded_runs_on_integers_inside(record):
    model = models()["mlp"]
    first, then = torch.randn(5, 12), torch.randn(5, 12)
    with torch.no_grad(), accelsim.integer_gemms(model, 63) as direct:
        right = model(then)
    with torch.no_grad(), accelsim.integer_gemms(model, 63) as mode:
        recorded = record(model)(first)
        before = mode.tally.summary()["gemms"]
        assert torch.equal(recorded(then), right)
    assert mode.tally.summary()["gemms"] - before == direct.tally.summary()["gemms"] == 2


def test_recording_is_named_with_its_multiplications():
    model = models()["mlp"]
    with torch.no_grad(), accelsim.integer_gemms(model, 63) as mode:
        make_fx(model)(torch.randn(5, 12))
    (reason,) = mode.skipped
    assert reason == "aten::linear: recorded, to run later; left in floating point"
    assert mode.tally.summary()["skipped_macs"] == 5 * 20 * (12 + 7)


def test_the_derivative_that_linearize_records():
    weight, x, tangent = torch.randn(8, 5), torch.randn(6, 8), torch.randn(6, 8)
    model = nn.Identity()
    with accelsim.integer_gemms(model, 63) as mode:
        model(x)
        _, derivative = torch.func.linearize(lambda a: (a @ weight).sin(), x)
    right = torch.func.jvp(lambda a: (a @ weight).sin(), (x,), (tangent,))[1]
    torch.testing.assert_close(derivative(tangent), right)
    assert any("recorded, to run later" in reason for reason in mode.skipped)


@pytest.mark.parametrize("record", [make_fx, Exported])
def test_an_invariant_model_that_is_recorded_promises_nothing(record):
    model = nn.Sequential(nn.Linear(12, 4), nn.Softmax(-1))
    with torch.no_grad(), accelsim.invariant(model, 63) as mode:
        record(model)(torch.randn(5, 12))
    assert mode.tally.summary()["level"] == 0


def test_operands_without_values_pass_with_a_count(tmp_path):
    with FakeTensorMode():
        model, x = nn.Sequential(nn.Linear(8, 6)), torch.randn(5, 8)
    with torch.no_grad(), accelsim.integer_gemms(model, 63) as mode:
        assert model(x).shape == (5, 6)
    assert mode.skipped == {"0: operands without values": 1}
    assert mode.tally.summary()["skipped_macs"] == 5 * 8 * 6
    with torch.no_grad(), Capture(model) as shapes:
        model(x)
    assert [gemm.a for gemm in shapes.gemms] == [(5, 8)]
    path = tmp_path / "x.safetensors"
    with pytest.raises(InputError, match="no GEMM could be captured: 0: operands without"):  # noqa: SIM117
        with Capture(model, path):
            model(x)


def test_a_capture_of_a_recorded_model_has_the_products_that_ran(tmp_path):
    model, path = models()["mlp"], tmp_path / "x.safetensors"
    x, then = torch.randn(5, 12), torch.randn(5, 12)
    with torch.no_grad(), Capture(model, path) as done:
        recorded = make_fx(model)(x)
        recorded(then)
    (reason,) = done.skipped
    assert "recorded, to run later" in reason
    first, _ = open_bundle(path).gemms
    assert torch.equal(first.load()[0], then)


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_torchscript_does_not_record_inside(mode):
    """It would take a convolution's result for a constant."""
    model, x = models()["convolution"], torch.randn(2, 5, 12)
    with torch.no_grad(), pytest.raises(InputError, match=r"torch\.jit\.trace cannot record"):  # noqa: SIM117
        with mode(model):
            torch.jit.trace(model, x, check_trace=False)
