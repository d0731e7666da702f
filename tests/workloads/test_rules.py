"""Every rule: its GEMMs, multiplied and finished, are what the operator itself computes."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from workloads.tracing import recognize
from workloads.tracing.convolution import OVERLAPS

aten = torch.ops.aten


def rand(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


CALLS = {
    "mm": (aten.mm.default, (rand(3, 4), rand(4, 5)), {}),
    "bmm": (aten.bmm.default, (rand(2, 3, 4), rand(2, 4, 5)), {}),
    "addmm row": (aten.addmm.default, (rand(5), rand(3, 4), rand(4, 5)), {}),
    "addmm scaled": (
        aten.addmm.default,
        (rand(3, 5), rand(3, 4), rand(4, 5)),
        {"beta": 0.5, "alpha": -2},
    ),
    "addmm without the input": (
        aten.addmm.default,
        (torch.full((3, 5), torch.nan, dtype=torch.float64), rand(3, 4), rand(4, 5)),
        {"beta": 0},
    ),
    "baddbmm": (
        aten.baddbmm.default,
        (rand(2, 3, 5), rand(2, 3, 4), rand(2, 4, 5)),
        {"beta": 2, "alpha": 3},
    ),
    "mv": (aten.mv.default, (rand(3, 4), rand(4)), {}),
    "addmv": (aten.addmv.default, (rand(3), rand(3, 4), rand(4)), {"beta": 2, "alpha": 3}),
    "addmv without the input": (
        aten.addmv.default,
        (torch.full((3,), torch.nan, dtype=torch.float64), rand(3, 4), rand(4)),
        {"beta": 0},
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_products_make_the_result(name):
    func, args, kwargs = CALLS[name]
    found = recognize(func, args, kwargs)
    result = found.finish([p.a @ p.b.mT for p in found.products])
    torch.testing.assert_close(result, func(*args, **kwargs))


@pytest.mark.parametrize("form", ["out", "in place"])
def test_results_that_have_a_place(form):
    a, b, base = rand(3, 4), rand(4, 5), rand(3, 5)
    place = base.clone()
    if form == "out":
        found = recognize(aten.addmm.out, (base, a, b), {"out": place})
    else:
        found = recognize(aten.addmm_.default, (place, a, b), {})
    result = found.finish([p.a @ p.b.mT for p in found.products])
    assert result is place
    torch.testing.assert_close(place, base + a @ b)


def convolve(kernel, stride, size, **options):
    given = {"padding": 0, "dilation": 1, "groups": 1} | options
    dims = len(kernel)
    lists = [[given[key]] * dims for key in ("padding", "dilation")]
    x = rand(2, 3 * given["groups"], *size)
    w = rand(7 * given["groups"], 3, *kernel)
    rest = (*lists, False, [0] * dims, given["groups"])
    return x, w, (list(stride), *rest)


CONVOLUTIONS = {
    "patches": convolve((2, 2), (2, 2), (6, 8)),
    "patches and a rest": convolve((2, 3), (2, 3), (5, 8)),
    "gaps": convolve((2, 2), (3, 4), (8, 9)),
    "pointwise": convolve((1, 1), (1, 1), (3, 4)),
    "1-D": convolve((4,), (4,), (12,)),
    "3-D": convolve((2, 2, 2), (2, 2, 2), (4, 4, 4)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_convolutions(name, bias):
    x, w, rest = CONVOLUTIONS[name]
    args = (x, w, rand(7) if bias else None, *rest)
    found = recognize(aten.convolution.default, args, {})
    expected = aten.convolution.default(*args)
    torch.testing.assert_close(found.finish([p.a @ p.b.mT for p in found.products]), expected)


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("mask", [[True, True, True], [False, True, True], [True, False, False]])
def test_gradients_of_convolutions(name, mask):
    x, w, rest = CONVOLUTIONS[name]
    output = aten.convolution.default(x, w, None, *rest)
    args = (rand(*output.shape), x, w, [7], *rest, mask)
    found = recognize(aten.convolution_backward.default, args, {})
    results = found.finish([p.a @ p.b.mT for p in found.products])
    expected = aten.convolution_backward.default(*args)
    for result, gradient, wanted in zip(results, expected, mask, strict=True):
        assert (result is not None) == wanted
        if wanted:
            torch.testing.assert_close(result, gradient)


@pytest.mark.parametrize("options", [{"padding": 1}, {"dilation": 2}, {"groups": 3}])
def test_convolutions_that_are_no_gemm_say_so(options):
    x, w, rest = convolve((2, 2), (2, 2), (6, 6), **options)
    assert recognize(aten.convolution.default, (x, w, None, *rest), {}) == OVERLAPS


def test_overlapping_convolutions_say_so():
    x, w, rest = convolve((3, 3), (1, 1), (6, 6))
    assert recognize(aten.convolution.default, (x, w, None, *rest), {}) == OVERLAPS


class Calls(TorchDispatchMode):
    """Remembers the attention kernels that run, with what they return."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if "scaled_dot_product" in str(func):
            self.seen.append((func, args, kwargs or {}, result))
        return result


MASKS = {
    "none": {},
    "causal": {"is_causal": True},
    "scaled": {"scale": 0.3},
    "boolean": {"attn_mask": torch.rand(2, 1, 5, 7) > 0.3},
    "additive": {"attn_mask": torch.randn(5, 7)},
    "fully masked row": {"attn_mask": torch.arange(5)[:, None] != torch.full((5, 7), 2)},
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_fused_attention(name, kv_heads):
    q = torch.randn(2, 4, 5, 8, requires_grad=True)
    k = torch.randn(2, kv_heads, 7, 8, requires_grad=True)
    v = torch.randn(2, kv_heads, 7, 8, requires_grad=True)
    with Calls() as calls:
        options = MASKS[name] | {"enable_gqa": kv_heads != 4}
        out = scaled_dot_product_attention(q, k, v, **options)
        out.backward(torch.randn(out.shape))
    (forward, args, kwargs, (o, _)), (backward, args_b, kwargs_b, (dq, dk, dv)) = calls.seen
    assert "flash_attention_for_cpu" in str(forward)
    s, product = recognize(forward, args, kwargs).products
    assert (s.op, product.op) == ("qk", "pv")
    torch.testing.assert_close((product.a @ product.b.mT).reshape(o.shape), o)
    found = {
        (p.op, p.gradient_of): p.a @ p.b.mT for p in recognize(backward, args_b, kwargs_b).products
    }
    assert set(found) == {("qk", "a"), ("qk", "b"), ("pv", "a"), ("pv", "b")}

    def grouped(x, like):
        return x.reshape(2, kv_heads, 4 // kv_heads, *x.shape[1:]).sum(2).reshape(like.shape)

    torch.testing.assert_close(found["qk", "a"].reshape(dq.shape), dq, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(grouped(found["qk", "b"], dk), dk, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(grouped(found["pv", "b"].mT, dv), dv, rtol=1e-4, atol=1e-5)


def test_operators_that_multiply_nothing():
    assert recognize(aten.add.Tensor, (rand(2), rand(2)), {}) is None


def test_dropout_inside_a_kernel_is_refused():
    func = aten._scaled_dot_product_efficient_attention.default
    x = rand(1, 2, 4, 8)
    assert "dropout" in recognize(func, (x, x, x, None, True, 0.1), {})
