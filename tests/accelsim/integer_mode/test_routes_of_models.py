"""The routes of a model's GEMMs: scales by row, a backend's own route, and weights that change."""

import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn

import accelsim
from accelsim.arithmetic.oracle import oracle
from accelsim.arithmetic.rounding import quantize
from accelsim.errors import DataError, InputError
from accelsim.integer_mode import routes as routes_module
from accelsim.integer_mode.weights import Weights
from gemm_backends import register

sys.path.insert(0, str(Path(__file__).parents[1] / "routes"))
sys.path.insert(0, str(Path(__file__).parents[2] / "workloads"))
from fused_int64 import Fused, Stale
from small_models import ids, language, loss

WAYS = [
    {"exact": "simulate"},
    {"backend": "int64", "check": True},
    {"backend": "emulator", "bits": 4, "strategy": "row", "check": True},
    {"backend": Fused(), "strategy": "fused", "check": True},
]
NAMES = ["simulated", "int64", "emulator", "fused"]


def step(model, batch, **options):
    """Return the logits and all gradients of one training step, and the tally."""
    model.zero_grad()
    with accelsim.integer_gemms(model, **{"beta": 63, **options}) as mode:
        logits = model(batch)
        loss(logits, batch).backward()
    return [logits.detach(), *(p.grad.clone() for p in model.parameters())], mode.tally


def same(xs, ys):
    return all(torch.equal(x, y) for x, y in zip(xs, ys, strict=True))


def test_scales_by_row_forward_and_backward():
    model, batch = language(), ids()
    expected, _ = step(model, batch, granularity="row", **WAYS[0])
    for options in WAYS[1:]:
        found, tally = step(model, batch, granularity="row", **options)
        assert same(found, expected)
        assert tally.total.checked == tally.total.gemms > 0
        assert tally.total.inexact == 0
    assert not same(expected, step(model, batch, **WAYS[0])[0])


@pytest.mark.parametrize("options", WAYS, ids=NAMES)
def test_what_scales_by_row_mean(options):
    """Tokens and output channels have scales of their own; in gradients, what are rows there."""
    torch.manual_seed(0)
    layer, x = nn.Linear(40, 9, bias=False), torch.randn(5, 40) * torch.logspace(-3, 3, 5)[:, None]
    x.requires_grad_()
    grad = torch.randn(5, 9) * torch.logspace(-2, 2, 5)[:, None]

    def product(a, b):
        a, b = (quantize(y.detach().contiguous(), 95, 63, "row", "nonzero") for y in (a, b))
        scale = a.scale.double() * b.scale.double().mT
        return (oracle(a.values, b.values).double() / scale).float()

    with accelsim.integer_gemms(layer, beta=63, granularity="row", **options):
        y = layer(x)
        y.backward(grad)
    assert torch.equal(y, product(x, layer.weight))
    assert torch.equal(x.grad, product(grad, layer.weight.T))
    assert torch.equal(layer.weight.grad, product(grad.T, x.T))


def test_a_tokens_output_does_not_depend_on_its_batch():
    layer, x = nn.Linear(16, 8), torch.randn(6, 16)
    with accelsim.integer_gemms(layer, beta=31, granularity="row") as mode, torch.no_grad():
        together = layer(x)
        alone = torch.cat([layer(row[None]) for row in x])
    assert torch.equal(together, alone)
    assert mode.tally.total.gemms == 7


def test_without_a_backend_it_just_works():
    model, batch = language(), ids()
    model.zero_grad()
    with accelsim.integer_gemms(model, beta=127) as mode:
        loss(model(batch), batch).backward()
    found = [p.grad.clone() for p in model.parameters()]
    assert mode.tally.total.gemms == 3 * 17
    step(model, batch, beta=127, exact="simulate")
    assert same(found, [p.grad for p in model.parameters()])


def test_a_fused_route_is_found_among_the_backends(monkeypatch):
    layer, x = nn.Linear(8, 4), torch.randn(3, 8)
    with (
        pytest.raises(
            InputError, match=r"strategy 'fused': no backend has one on the device 'cpu'"
        ),
        accelsim.integer_gemms(layer, beta=127, strategy="fused"),
    ):
        layer(x)
    register(Fused)
    try:
        with accelsim.integer_gemms(layer, beta=127, strategy="fused", check=True) as mode:
            found = layer(x)
            with pytest.raises(InputError, match=r"fused-int64: takes float32, not torch.bfloat16"):
                nn.functional.linear(x.bfloat16(), layer.weight.bfloat16())
    finally:
        from gemm_backends.loading import registry

        registry._registered.pop("fused-int64")
    assert (mode.tally.total.unpacked, mode.tally.total.inexact) == (1, 0)
    with accelsim.integer_gemms(layer, beta=127, exact="simulate"):
        assert torch.equal(layer(x), found)


def test_a_fused_route_that_is_wrong_is_seen():
    class FusedStaleHere(Fused):
        name, route = "fused-stale-here", Stale

    layer = nn.Linear(8, 4)
    mode = accelsim.integer_gemms(
        layer, 127, backend=FusedStaleHere(), strategy="fused", check=True
    )
    with mode, torch.no_grad():
        layer(torch.randn(3, 8))
        layer(torch.randn(3, 8))
    assert (mode.tally.total.checked, mode.tally.total.inexact) == (2, 1)


def test_few_routes_are_held_at_a_time(monkeypatch):
    monkeypatch.setattr(routes_module, "MOST", 2)
    model, batch = language(), ids()
    expected, _ = step(model, batch, exact="simulate")
    assert same(step(model, batch, backend="int64", check=True)[0], expected)


def write_numpy(weight):
    weight.detach().numpy()[:] *= -3


def write_in_a_thread(weight):
    thread = threading.Thread(target=lambda: weight.data.mul_(-3))
    thread.start()
    thread.join()


def write_as_integers(weight):
    weight.data.view(torch.int32)[:] ^= 1 << 22


def write_by_exchanging_rows(weight):
    values = weight.detach().numpy()
    values[[0, 1]] = values[[1, 0]]


WRITES = [write_numpy, write_in_a_thread, write_as_integers, write_by_exchanging_rows]


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
@pytest.mark.parametrize("options", WAYS, ids=NAMES)
def test_a_weight_is_used_as_it_is(write, options):
    torch.manual_seed(0)
    layer, x = nn.Linear(48, 40, bias=False), torch.randn(16, 48)
    with accelsim.integer_gemms(layer, beta=127, **options) as mode, torch.no_grad():
        before = layer(x)
        layer(x)
        write(layer.weight)
        after = layer(x)
        again = layer(x)
    with accelsim.integer_gemms(layer, beta=127, exact="simulate"), torch.no_grad():
        assert torch.equal(layer(x), after)
    assert torch.equal(after, again)
    assert not torch.equal(before, after)
    assert mode.tally.total.inexact == 0


@pytest.mark.parametrize("write", ["scatter", "all_gather"])
def test_a_weight_that_a_collective_writes_to(write, tmp_path):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'it'}", rank=0, world_size=1)
    try:
        layer, x, new = nn.Linear(48, 40, bias=False), torch.randn(16, 48), torch.randn(40, 48)
        weights = Weights(layer)
        address = layer.weight.untyped_storage().data_ptr()
        mode = accelsim.integer_gemms(layer, beta=127, backend="int64", check=True)
        with mode, torch.no_grad():
            layer(x)
            weights, before = mode._weights, mode._weights._writes[address]
            if write == "scatter":
                dist.scatter(layer.weight.data, [new], src=0)
            else:
                dist.all_gather_into_tensor(layer.weight.data, new)
            assert weights._writes[address] > before, "seen without the checksum as well"
            after = layer(x)
        with accelsim.integer_gemms(layer, beta=127), torch.no_grad():
            assert torch.equal(layer(x), after)
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("options", WAYS[1:], ids=NAMES[1:])
def test_a_stale_weight_is_seen_by_the_check(options, monkeypatch):
    """Broken on purpose: no write is noticed."""
    monkeypatch.setattr("accelsim.integer_mode.weights.checksum", lambda tensor: 0)
    layer, x = nn.Linear(48, 40, bias=False), torch.randn(16, 48)
    with accelsim.integer_gemms(layer, beta=127, **options) as mode, torch.no_grad():
        layer(x)
        write_numpy(layer.weight)
        layer(x)
    assert (mode.tally.total.checked, mode.tally.total.inexact) == (2, 1)


def test_memory_that_a_weight_gave_back_is_no_weight():
    layer = nn.Linear(16, 16, bias=False)
    weights = Weights(layer)
    weight = layer.weight
    assert weights.stays(weight)
    address = weight.untyped_storage().data_ptr()
    other = torch.frombuffer(weight.detach().numpy(), dtype=torch.float32).view(16, 16)
    assert other.untyped_storage().data_ptr() == address
    assert not weights.stays(other), "the same memory, and not the model's tensor"


def test_products_with_infinities_pass_if_they_may():
    layer, x = nn.Linear(6, 4), torch.randn(3, 6)
    x[1, 2] = torch.inf
    for options in WAYS:
        with (
            pytest.raises(DataError, match=r"^matmul .*: activations: found inf at \[1, 2\]"),
            accelsim.integer_gemms(layer, beta=31, **options),
        ):
            layer(x)
        mode = accelsim.integer_gemms(layer, beta=31, nonfinite="pass", **options)
        with mode, torch.no_grad():
            found = layer(x)
            rows = layer(x[[0, 2]])
        assert torch.equal(found.isfinite(), layer(x).isfinite())
        assert rows.isfinite().all()
        assert mode.tally.total.gemms == 1
        assert mode.tally.summary()["skipped_macs"] == 3 * 6 * 4
        assert any("NaN or infinity" in reason for reason in mode.skipped)
    with pytest.raises(InputError, match="nonfinite: unknown value 'skip'"):
        accelsim.integer_gemms(layer, beta=31, nonfinite="skip")


def test_a_scaled_loss_that_overflows_halves_the_scale():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**24)
    x, y = torch.randn(8, 16), torch.randint(0, 4, (8,))
    with accelsim.integer_gemms(model, beta=255) as mode:
        for _ in range(12):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.float16):
                value = nn.functional.cross_entropy(model(x), y)
            scaler.scale(value).backward()
            scaler.step(optimizer)
            scaler.update()
    assert torch.isfinite(value)
    assert scaler.get_scale() < 2.0**24
    assert any("grad_" in why and "infinity" in why for why in mode.tally.skipped.calls)


@pytest.mark.parametrize(("nonfinite", "raises"), [(None, False), ("pass", False), ("error", True)])
def test_infinite_gradients_pass_by_default_and_are_counted(nonfinite, raises):
    layer, x = nn.Linear(8, 4), torch.ones(2, 8, requires_grad=True)
    with (
        pytest.raises(DataError, match="grad_") if raises else nullcontext(),
        accelsim.integer_gemms(layer, beta=31, nonfinite=nonfinite) as mode,
    ):
        layer(x).backward(torch.full((2, 4), torch.inf))
    if not raises:
        assert not torch.isfinite(x.grad).all()
        assert len(mode.tally.skipped.calls) == 2


def test_nan_of_an_infinite_gradient_passes_and_any_other_does_not():
    layers = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 4))
    with torch.no_grad():
        layers[1].weight.copy_(torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None].expand(4, 4))
    x = torch.ones(2, 8, requires_grad=True)
    with accelsim.integer_gemms(layers, beta=31):
        layers(x).backward(torch.full((2, 4), torch.inf))
        assert layers[0].weight.grad.isnan().all(), "infinity less infinity"
        with pytest.raises(DataError, match=r"grad_.*nan"):
            layers(x).backward(torch.full((2, 4), torch.nan))


@pytest.mark.parametrize("nonfinite", [None, "error"])
def test_an_infinite_activation_is_an_error_by_default(nonfinite):
    layer = nn.Linear(8, 4)
    with (
        pytest.raises(DataError, match="forward"),
        accelsim.integer_gemms(layer, beta=31, nonfinite=nonfinite),
    ):
        layer(torch.full((2, 8), torch.inf))
