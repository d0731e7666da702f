"""Whole models on integers: a backend's own products, the same in simulation, nothing left."""

import copy
import re
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import accelsim
from accelsim.arithmetic.oracle import oracle
from accelsim.arithmetic.rounding import begin_quantizing, quantize
from accelsim.errors import DataError, InputError
from gemm_backends import Accumulator, GemmBackend, load_backend

sys.path.insert(0, str(Path(__file__).parents[2] / "workloads"))
from small_models import Vision, ids, language, loss

BETA = {"default": 31, "gradients": 1023}


class Wrong(GemmBackend):
    """Adds one to the first entry of every product."""

    name, bits, accumulator = "wrong", 8, Accumulator(64, "wrap")

    def matmul(self, a, b):
        product = a.long() @ b.long().T
        if product.numel():
            product[0, 0] += 1
        return product


def step(model, batch, mode=None):
    """Return the logits, the loss and all gradients of one training step."""
    model.zero_grad()
    with mode or torch.enable_grad():
        logits = model(batch)
        loss(logits, batch).backward()
    return [logits.detach(), *(p.grad.clone() for p in model.parameters())]


def same(xs, ys):
    return all(torch.equal(x, y) for x, y in zip(xs, ys, strict=True))


def integers(model, **options):
    return accelsim.integer_gemms(model, **{"beta": BETA, **options})


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("backend", ["cpu-int8", "emulator"])
@pytest.mark.parametrize("options", [{}, {"fused": False}, {"kv_heads": 2}], ids=str)
def test_a_training_step_is_the_same_bit_for_bit_in_simulation_and_on_backends(
    options, backend, bits
):
    model, batch = language(**options), ids()
    simulated = step(model, batch, integers(model, exact="simulate"))
    mode = integers(model, backend=backend, bits=bits, check=True)
    assert same(simulated, step(model, batch, mode))
    total = mode.tally.total
    assert total.gemms == total.checked == total.unpacked == 3 * 17
    assert total.inexact == total.overflows == 0
    assert total.ratio >= 1
    assert not same(simulated, step(model, batch))


def test_the_backends_products_are_what_the_model_goes_on_with():
    model, batch = language(), ids()
    mode = integers(model, backend=Wrong(), check=True)
    wrong = step(model, batch, mode)
    assert not same(wrong, step(model, batch, integers(model, exact="simulate")))
    assert mode.tally.total.inexact > 0


def test_a_linear_layer_is_what_the_definition_says():
    torch.manual_seed(0)
    layer, x = nn.Linear(40, 9), torch.randn(5, 40)
    with integers(layer, backend="int64", bits=5, percentile={"default": 95, "weights": 90}):
        found = layer(x)
    (a, b) = quantize(x, 95, 31), quantize(layer.weight.detach(), 90, 31)
    product = oracle(a.values, b.values).double() / (float(a.scale) * float(b.scale))
    torch.testing.assert_close(found, layer.bias + product.float(), rtol=2e-7, atol=0)


@pytest.mark.parametrize(("k", "scale"), [(8, 1), (8, 1e4), (8, 1e8), (300, 3e7)])
def test_simulation_is_exact_however_large_the_integers(k, scale):
    torch.manual_seed(1)
    layer, x = nn.Linear(k, 6, bias=False), torch.randn(2, 5, k)
    x[0, 1] *= scale
    x[0, 2, 3] *= 3
    for heavy in (False, True):
        if heavy:
            layer.weight.data[:, 2] *= scale
        found = []
        for options in ({"exact": "simulate"}, {"backend": "int64", "bits": 16, "check": True}):
            mode = integers(layer, beta=5, percentile=50, **options)
            with mode, torch.no_grad():
                found.append(layer(x))
            assert mode.tally.total.inexact == 0
        assert torch.equal(*found)


def test_leaving_restores_the_model():
    model, batch = language(), ids()
    state, before = copy.deepcopy(model.state_dict()), step(model, batch)
    with pytest.raises(IndexError), integers(model, exact="simulate"):
        model(batch + 1000)
    assert same(state.values(), model.state_dict().values())
    assert same(before, step(model, batch))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_without_a_chosen_gemm_it_is_the_plain_model_bit_for_bit():
    model, batch = language(fused=False), ids()
    mode = integers(model, exact="simulate", gemms=[])
    assert same(step(model, batch), step(model, batch, mode))
    assert mode.tally.total.gemms == 0


def test_which_gemms():
    model, batch = language(), ids()
    mode = integers(model, exact="simulate", skip=["head"], ops=["linear"], gemms=["*.0.*", "head"])
    step(model, batch, mode)
    layers = {layer for layer, *_ in mode.tally.by_place}
    names = (*(f"attention.{name}" for name in "qkvo"), "up", "down")
    assert layers == {f"blocks.0.{name}" for name in names}
    assert {op for _, op, _ in mode.tally.by_place} == {"linear"}
    assert {row["phase"] for row in mode.tally.rows()} == {"forward", "grad_input", "grad_weight"}


def test_a_layer_that_is_skipped_is_skipped_whenever_it_runs():
    model, batch = language(), ids()
    mode = integers(model, exact="simulate", skip=["head"])
    with torch.no_grad(), mode:
        model(batch)
        once = mode.tally.total.gemms
        model(batch)
    with torch.no_grad(), mode:
        model(batch)
    assert mode.tally.total.gemms == 3 * once
    assert "head" not in {layer for layer, *_ in mode.tally.by_place}


def test_weights_are_prepared_once_until_something_writes_to_them(monkeypatch):
    calls = []

    def counted(x, *args):
        calls.append(args[-1])
        return begin_quantizing(x, *args)

    monkeypatch.setattr("accelsim.routes.rounding.begin_quantizing", counted)
    layer, x = nn.Linear(8, 4, bias=False), torch.randn(3, 8)
    with integers(layer, exact="simulate") as mode, torch.no_grad():
        first = layer(x)
        layer(x)
        assert sum(name.endswith("weights") for name in calls) == 1
        layer.weight.data.mul_(torch.tensor([[1.0], [2.0], [3.0], [4.0]]))  # no version is counted
        second = layer(x)
        assert sum(name.endswith("weights") for name in calls) == 2
        torch._foreach_mul_([layer.weight], 0.0)
        assert not layer(x).any()
    assert not torch.equal(first, second)
    assert mode.tally.total.gemms == 4


def test_training_moves_the_weights_that_are_used():
    model, batch = language(), ids()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    with integers(model, exact="simulate"):
        for _ in range(20):
            optimizer.zero_grad()
            value = loss(model(batch), batch)
            value.backward()
            optimizer.step()
            losses.append(float(value.detach()))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("kind", ["reentrant", "not"])
def test_gradient_checkpointing_changes_nothing(kind):
    plain, model, batch = language(), language(checkpointing=kind), ids()
    assert same(
        step(plain, batch, integers(plain, exact="simulate")),
        step(model, batch, integers(model, exact="simulate")),
    )


def test_autocast_and_half_precision():
    model, batch = language(), ids()
    with integers(model, exact="simulate") as mode, torch.autocast("cpu", torch.bfloat16):
        logits = model(batch)
    assert logits.dtype == torch.bfloat16
    assert mode.tally.total.gemms == 17


def test_a_vision_model_with_convolution():
    torch.manual_seed(0)
    model, images = Vision(), torch.randn(2, 3, 8, 8)
    found = []
    for options in ({"exact": "simulate"}, {"backend": "emulator", "bits": 3, "check": True}):
        model.zero_grad()
        mode = integers(model, **options)
        with mode:
            model(images).square().sum().backward()
        found.append([p.grad for p in model.parameters()])
        assert mode.tally.total.inexact == 0
    assert same(*found)


class Cached(nn.Module):
    """One head whose keys and values wait in buffers."""

    def __init__(self, size=6, length=4):
        super().__init__()
        self.qkv = nn.Linear(size, 3 * size)
        for name in ("keys", "values"):
            self.register_buffer(name, torch.zeros(length, size))

    def forward(self, x, start):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        self.keys[start : start + len(x)] = k
        self.values[start : start + len(x)] = v
        seen = torch.arange(len(self.keys)) <= torch.arange(start, start + len(x))[:, None]
        p = (q @ self.keys.mT).masked_fill(~seen, -torch.inf).softmax(-1)
        return p @ self.values


def test_tokens_one_by_one_with_a_cache_of_keys_and_values():
    """The cache is rounded as it is now, with the attention's beta, and not as a weight."""
    torch.manual_seed(0)
    fresh, x, found = Cached(), torch.randn(4, 6), []
    beta = {"default": 255, "weights": 3}
    for options in ({"exact": "simulate"}, {"backend": "emulator", "bits": 4, "check": True}):
        model = copy.deepcopy(fresh)
        mode = integers(model, beta=beta, percentile=100, ops=["qk", "pv"], **options)
        with mode, torch.inference_mode():
            found.append(torch.cat([model(x[i : i + 1], i) for i in range(4)]))
        assert mode.tally.total.gemms == 8
        assert mode.tally.total.inexact == 0
    assert torch.equal(*found)
    torch.testing.assert_close(found[0], fresh(x, 0).detach(), rtol=0.05, atol=0.02)


@pytest.mark.parametrize("write", ["numpy", "data"])
def test_weights_written_to_between_two_entries(write):
    layer, x = nn.Linear(8, 4, bias=False), torch.randn(3, 8)
    mode = integers(layer, exact="simulate")
    with mode, torch.no_grad():
        first = layer(x)
    if write == "numpy":
        layer.weight.detach().numpy()[:] *= -2
    else:
        layer.weight.data.mul_(-2)
    with mode, torch.no_grad():
        second = layer(x)
    assert torch.equal(second, -2 * first)


@pytest.mark.parametrize("options", [{"exact": "simulate"}, {"backend": "emulator"}], ids=str)
def test_of_two_contexts_the_inner_one_goes_first(options):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 3)), torch.randn(4, 8)
    with integers(model, beta=255, **options):
        expected = model[0](x)
    with integers(model[1], beta=7, **options):
        expected = model[1](expected)
    outer = integers(model, beta=7, **options)
    inner = integers(model, beta=255, gemms=["0"], **options)
    with outer, inner:
        found = model(x)
    assert torch.equal(found, expected)
    assert [mode.tally.total.gemms for mode in (outer, inner)] == [1, 1]


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_products_of_other_numbers_are_left_alone(dtype):
    x = torch.randn(4, 4).mul(1e5).to(dtype)
    with integers(nn.Identity(), exact="simulate") as mode:
        found = x @ x
    assert torch.equal(found, x @ x)
    assert mode.tally.total.gemms == 0
    assert any("not floating-point numbers" in reason for reason in mode.skipped)


def test_nan_is_reported_with_its_gemm():
    model = language()
    model.head.weight.data[3, 1] = torch.nan
    message = r"head \(forward\): weights: found nan at \[3, 1\]"
    with pytest.raises(DataError, match=message), integers(model, exact="simulate"):
        model.head(torch.randn(2, 12))


def test_nan_in_a_gradient_is_reported_with_its_layer():
    model, batch = language(), ids()
    message = r"^head\.dw \(grad_weight\): gradients: found nan at \[0, 0\]"
    with integers(model, exact="simulate"):
        logits = model(batch)
        gradient = torch.ones_like(logits)
        gradient[0, 0, 0] = torch.nan
        with pytest.raises(DataError, match=message):
            logits.backward(gradient)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exact": "backend"}, "exact='backend': name a backend"),
        ({"strategy": "mix"}, "strategy 'mix': name a backend for its products"),
        ({"granularity": "rows"}, "did you mean 'row'"),
        ({"backend": "emulater"}, "did you mean 'emulator'"),
        ({"exact": "simulated"}, "expected 'auto', 'backend' or 'simulate'"),
        ({"exact": "simulate", "beta": {"weights": 3}}, "nothing for activations, attention"),
        ({"exact": "simulate", "beta": {"weight": 3}}, "did you mean 'weights'"),
        ({"exact": "simulate", "percentile": 0}, "expected a number above 0"),
        ({"exact": "simulate", "percentile": 101}, "at most 100"),
        ({"exact": "simulate", "ops": ["conv"]}, "unknown op 'conv'"),
        ({"backend": "emulator", "bits": 1}, "bits"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        integers(nn.Linear(2, 2), **options)


def test_a_backend_that_refuses_is_an_error_with_its_reason():
    class Tiny(Wrong):
        name = "tiny"
        accumulator = Accumulator(8, "wrap")

    layer = nn.Linear(2, 2)
    with pytest.raises(InputError, match="may overflow"), integers(layer, backend=Tiny(), bits=8):
        layer(torch.randn(3, 2))


def test_the_emulators_digits_are_asked_for():
    assert load_backend("emulator").for_bits(3, 3).operand_bits == (3, 3)


LEGEND = (
    "  MACs: multiplications of the GEMMs; low-bit MACs: those of their digits; "
    "r: low-bit MACs over MACs"
)
LINEAR = "  linear: products with weights, those of convolutions, too"


def test_the_tally_reads_as_sentences():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))
    x = torch.randn(4, 8)
    with accelsim.integer_gemms(model, beta=255, backend="int64", bits=4, check=True) as mode:
        model(x)
    lines = str(mode.tally).splitlines()
    assert lines[0] == "2 GEMMs in integers, 100.0% of the GEMMs' multiplications"
    assert lines[1].split() == ["op", "phase", "GEMMs", "MACs", "low-bit", "MACs", "r"]
    assert re.fullmatch(r"  linear  forward      2   384 +[\d,]+  \d\.\d{3}", lines[2])
    assert lines[3] == LEGEND
    assert lines[4:] == [LINEAR, "2 of 2 checked are exact"]
    with accelsim.integer_gemms(model, beta=255, skip=["1"]) as mode:
        model(x)
    line = "1 GEMM not chosen, 33.3% of the GEMMs' multiplications: 1"
    assert line in str(mode.tally).splitlines()
    with accelsim.integer_gemms(model, beta=255, skip=["1"]) as mode:
        model(x[:0])
    assert "1 GEMM not chosen, 0.0% of the GEMMs' multiplications: 1" in str(mode.tally)


def test_a_share_beside_calls_of_unknown_size_is_at_most_that():
    layer, x = nn.Linear(16, 8), torch.randn(4, 16)
    with accelsim.integer_gemms(layer, beta=31) as mode:
        y = layer(x)
        torch.cdist(y, y, compute_mode="donot_use_mm_for_euclid_dist").sum().backward()
    assert mode.tally.summary()["skipped_unknown"]
    first = str(mode.tally).splitlines()[0]
    assert re.fullmatch(
        r"2 GEMMs in integers, at most \d\d\.\d% of the GEMMs' multiplications", first
    )


def test_products_of_no_layer_are_listed_with_what_globs_call_them():
    layer, x = nn.Linear(8, 4), torch.randn(3, 8)
    with accelsim.integer_gemms(layer, beta=31, gemms=["matmul"]) as mode:
        layer(x)
    *_, last = mode.tally.table(by="layer").splitlines()
    assert last == "(model): of no layer; globs call its GEMMs matmul, qk and pv"
    assert "(model)" not in mode.tally.table()


@pytest.mark.parametrize("backend", [None, "int64"])
def test_entries_are_counted_where_they_are_unpacked_only(backend):
    layer = nn.Linear(8, 4)
    with accelsim.integer_gemms(layer, beta=31, backend=backend) as mode:
        layer(torch.randn(3, 8))
    found = mode.tally.summary()
    expected = (None, None) if backend is None else (3 * 8 + 4 * 8, 0)
    assert (found["entries"], found["out_of_bound"]) == expected


def test_a_tally_of_several_kinds_has_their_common_ratio_and_explains_gradients():
    model = nn.Linear(8, 4)
    with accelsim.integer_gemms(model, beta=255, backend="int64", bits=4) as mode:
        model(torch.randn(3, 8, requires_grad=True)).sum().backward()
    assert len({row["ratio"] for row in mode.tally.rows()}) > 1
    lines = str(mode.tally).splitlines()
    total = mode.tally.total
    ratio = total.low_bit_macs / total.unpacked_macs
    assert lines[5].split() == ["together", "3", "288", f"{total.low_bit_macs:,}", f"{ratio:.3f}"]
    assert lines[6:] == [
        LEGEND,
        LINEAR,
        "  grad_input, grad_weight: the gradients of the first and of the second operand; the "
        "second of a linear layer is its weights",
    ]


@pytest.mark.parametrize("nonfinite", [None, "pass"])
def test_float64_is_refused_instead_of_cut_to_float32(nonfinite):
    layer = nn.Linear(8, 4, bias=False).double()
    options = {} if nonfinite is None else {"nonfinite": nonfinite}
    x = torch.randn(3, 8, dtype=torch.float64)
    refused = pytest.raises(DataError, match=r"torch.float64; expected float32.*with \.float\(\)")
    with refused, integers(layer, **options), torch.no_grad():
        layer(x)
    with integers(layer.float(), **options), torch.no_grad():
        assert layer(x.float()).dtype is torch.float32


def test_a_width_without_a_backend_is_said_to_have_no_effect():
    model = nn.Linear(4, 2)
    for options in ({}, {"exact": "simulate"}):
        with pytest.warns(UserWarning, match="bits=4 has no effect: without a backend"):
            accelsim.integer_gemms(model, beta=15, bits=4, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        accelsim.integer_gemms(model, beta=15)
        accelsim.integer_gemms(model, beta=15, bits=4, backend="emulator")


def test_a_tally_without_a_backend_says_that_there_is_no_ratio():
    model = nn.Linear(4, 2)
    with torch.no_grad(), accelsim.integer_gemms(model, beta=15) as mode:
        model(torch.ones(3, 4))
    assert str(mode.tally).splitlines() == [
        "1 GEMM in integers, 100.0% of the GEMMs' multiplications",
        "  op      phase    GEMMs  MACs",
        "  linear  forward      1    24",
        "  MACs: multiplications of the GEMMs",
        "  no unpack ratio r: without a backend nothing is unpacked",
        LINEAR,
    ]
