"""Functions and sums that are the same everywhere: accurate, with the bits that are recorded."""

import hashlib
import math

import numpy as np
import pytest
import torch
from scipy import special

import accelsim
from accelsim.integer_mode.pinned import choices, elementary, error_function, sums
from accelsim.integer_mode.pinned.operators import OPERATORS

GRID = torch.arange(-4000, 4001, dtype=torch.float64) / 256

FUNCTIONS = {
    "exp": (elementary.exp, np.exp),
    "expm1": (elementary.expm1, np.expm1),
    "log": (lambda x: elementary.log(x.abs()), lambda x: np.log(np.abs(x))),
    "sin": (elementary.sin, np.sin),
    "cos": (elementary.cos, np.cos),
    "tanh": (elementary.tanh, np.tanh),
    "sigmoid": (elementary.sigmoid, special.expit),
    "erf": (error_function.erf, special.erf),
}

BITS = {
    "exp": "4b8af4dbd58324d0",
    "expm1": "9ff6747cbfe03333",
    "log": "f009a6028ca48fc5",
    "sin": "fb5df072bed15c19",
    "cos": "1afa99ec57d98da1",
    "tanh": "ba349f9d579bc790",
    "sigmoid": "b762f30294d4ce78",
    "erf": "eb668885e8fbd0c4",
}
"""The first digits of the SHA-256 of the float32 results on `GRID`: the same on every machine."""


def digest(x):
    return hashlib.sha256(x.to(torch.float32).contiguous().numpy().tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_next_to_the_true_value(name):
    mine, reference = FUNCTIONS[name]
    with np.errstate(divide="ignore"):
        found, right = mine(GRID), torch.from_numpy(reference(GRID.numpy()))
    finite = right.isfinite()
    assert torch.equal(found[~finite], right[~finite])
    error = (found - right)[finite].abs()
    assert bool((error <= 2.0**-48 * right[finite].abs() + 1e-300).all()), float(error.max())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_bits_that_are_recorded(name):
    assert digest(FUNCTIONS[name][0](GRID)) == BITS[name]


def test_the_recorded_bits_are_not_those_of_exp_in_float32():
    """What a device's own exp of float32 gives is told from the pinned one."""
    assert digest(torch.exp(GRID.to(torch.float32))) != BITS["exp"]


@pytest.mark.parametrize("name", ["exp", "log", "sin", "cos", "tanh", "sigmoid", "erf", "silu"])
def test_special_values_are_pytorchs(name):
    x = torch.tensor([0.0, math.inf, -math.inf, math.nan, 1e-40])
    reference = torch.nn.functional.silu if name == "silu" else getattr(torch, name)
    torch.testing.assert_close(
        OPERATORS[name](x), reference(x), equal_nan=True, rtol=1e-6, atol=1e-44
    )


def test_far_angles_are_reduced():
    x = torch.tensor([1e5, 1e9, 2.0**30 + 64, 3e38, -3e38], dtype=torch.float64)
    near = x[:3]
    torch.testing.assert_close(elementary.sin(near), torch.sin(near), rtol=1e-6, atol=1e-6)
    assert bool((elementary.sin(x).abs() <= 1).all())


def test_a_sum_does_not_depend_on_order_nor_on_zeros_between():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(257, generator=generator, dtype=torch.float64).exp()
    whole = sums.total(x, [0])
    order = torch.randperm(len(x), generator=generator)
    assert torch.equal(sums.total(x[order], [0]), whole)
    spread = torch.zeros(1000, dtype=torch.float64)
    spread[torch.randperm(1000, generator=generator)[:257]] = x
    assert torch.equal(sums.total(spread, [0]), whole)
    assert abs(float(whole) - math.fsum(x.tolist())) <= 257 * float(x.max()) * 2.0**-40
    # Sums of floats do depend on it: of 1,000 orders some differ.
    floats = {float(x[torch.randperm(257, generator=generator)].sum()) for _ in range(100)}
    assert len(floats) > 1


@pytest.mark.parametrize(
    "values", [[math.inf, 1.0], [-math.inf, 1.0], [math.inf, -math.inf], [math.nan, math.inf], []]
)
def test_infinite_and_empty_sums_are_pytorchs(values):
    x = torch.tensor([values, [2.0] * len(values)], dtype=torch.float64)
    found, right = sums.total(x, [1]), x.sum(1, keepdim=True)
    torch.testing.assert_close(found, right, rtol=0, atol=0, equal_nan=True)


def test_the_largest_sum_fits_and_one_more_term_is_refused():
    ones = torch.ones(1, dtype=torch.float32).expand(sums.MOST)
    assert OPERATORS["sum"](ones).item() == sums.MOST
    assert OPERATORS["sum"](torch.ones(1).expand(sums.MOST + 1)) is NotImplemented


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_operators_are_close_to_pytorchs(dtype):
    x = torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    weight, bias = torch.rand(64, dtype=dtype), torch.rand(64, dtype=dtype)
    aten = torch.ops.aten
    for name, args in [
        ("_softmax", (x, -1, False)),
        ("_safe_softmax", (x, 1)),
        ("_log_softmax", (x, 1, False)),
        ("mean", (x, [-1], True)),
        ("sum", (x, [0, 2])),
        ("gelu", (x,)),
        ("silu", (x,)),
        ("rsqrt", (x.abs() + 1,)),
        ("pow", (x, 2)),
        ("native_layer_norm", (x, [64], weight, bias, 1e-5)),
        ("_fused_rms_norm", (x, [64], weight, 1e-6)),
    ]:
        found, right = OPERATORS[name](*args), getattr(aten, name)(*args)
        pairs = zip(found, right, strict=True) if isinstance(found, tuple) else [(found, right)]
        for mine, its in pairs:
            assert (mine.shape, mine.dtype) == (its.shape, its.dtype), name
            torch.testing.assert_close(mine, its)


@pytest.mark.parametrize("eps", [None, 1e-6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_fused_norm_has_the_bits_of_its_steps(dtype, eps):
    """PyTorch takes it apart on a CPU and not on a GPU."""
    x = torch.randn(50, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    weight = torch.rand(64, dtype=dtype)
    norm = torch.nn.RMSNorm(64, eps, dtype=dtype)
    norm.weight.data = weight
    with torch.no_grad(), accelsim.invariant(norm, 63):
        right = norm(x)
    found, _ = OPERATORS["_fused_rms_norm"](x, [64], weight, eps)
    assert torch.equal(found, right)


def test_sums_with_a_factor_and_quotients_by_numbers():
    x, y = torch.rand(64), torch.rand(64)
    torch.testing.assert_close(OPERATORS["add"](x, y, alpha=3), x + 3 * y)
    torch.testing.assert_close(OPERATORS["sub"](x, y, alpha=3), x - 3 * y)
    assert torch.equal(OPERATORS["div"](x, 3.3), x / torch.tensor(3.3))
    assert torch.equal(OPERATORS["div"](x, y), x / y)
    assert OPERATORS["pow"](x, 2.5) is NotImplemented


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_ties_go_to_the_first(dtype):
    x = torch.tensor([[1, 3, 3, 2], [0, 0, 0, 0]]).to(dtype)
    assert choices.argmax(x, 1).tolist() == [1, 0]
    assert choices.argmax(x, 1, keepdim=True).tolist() == [[1], [0]]
    assert choices.argmax(x).item() == 1
    assert choices.topk(x, 3)[1].tolist() == [[1, 2, 3], [0, 1, 2]]
    assert choices.topk(x, 2, largest=False)[0].tolist() == [[1, 2], [0, 0]]
    assert choices.sort(x, descending=True)[1].tolist() == [[1, 2, 3, 0], [0, 1, 2, 3]]
    assert choices.argmax(torch.tensor([1.0, math.nan, 2.0]), 0).item() == 1


def test_counts_are_pytorchs():
    x = torch.tensor([0.0, 1, 1, 3, 2, 7, 7, 8, -1])
    assert torch.equal(choices.histc(x, 8, 0, 7), torch.histc(x, 8, 0, 7))
    assert choices.histc(x) is NotImplemented


def test_only_sums_of_whole_numbers_that_fit_are_added_up():
    mask = torch.tensor([[1.0, 0, 1, 1]])
    assert choices.cumsum(mask, 1).tolist() == [[1, 1, 2, 3]]
    assert choices.cumsum(mask.bool(), 1).tolist() == [[1, 1, 2, 3]]
    assert choices.cumsum(mask / 2, 1) is NotImplemented
    assert choices.cumsum(torch.tensor([2.0**24 - 1, 1.0]), 0) is NotImplemented
    assert choices.cumsum(torch.tensor([2.0**24 - 2, 1.0]), 0)[1] == 2**24 - 1
    assert choices.cumsum(mask.half(), 1) is NotImplemented
