"""Every rule: its GEMMs, multiplied and finished, are what the operator itself computes."""

import itertools

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from workloads.tracing import recognize

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
    "addmm of a transposed input": (
        aten.addmm.default,
        (rand(5, 3).mT, rand(3, 4), rand(4, 5)),
        {},
    ),
    "dot": (aten.dot.default, (rand(6), rand(6)), {}),
    "vdot": (aten.vdot.default, (rand(6), rand(6)), {}),
    "addbmm": (
        aten.addbmm.default,
        (rand(3, 5), rand(2, 3, 4), rand(2, 4, 5)),
        {"beta": 0.5, "alpha": -2},
    ),
    "relu": (aten._addmm_activation.default, (rand(5), rand(3, 4), rand(4, 5)), {}),
    "gelu": (
        aten._addmm_activation.default,
        (rand(5), rand(3, 4), rand(4, 5)),
        {"use_gelu": True},
    ),
}


def multiplied(found):
    return found.finish([(p.a @ p.b.mT).contiguous() for p in found.products])


def same(result, expected):
    """Values to the rounding of floats, and the strides exactly."""
    torch.testing.assert_close(result, expected)
    assert result.stride() == expected.stride()


@pytest.mark.parametrize("name", CALLS)
def test_products_make_the_result(name):
    func, args, kwargs = CALLS[name]
    same(multiplied(recognize(func, args, kwargs)), func(*args, **kwargs))


@pytest.mark.skipif(not hasattr(aten, "_foreach_mm"), reason="an operator of newer versions")
def test_lists_of_products():
    args = ([rand(3, 4), rand(2, 5)], [rand(4, 5), rand(5, 6)])
    for result, (a, b) in zip(
        multiplied(recognize(aten._foreach_mm.default, args, {})),
        zip(*args, strict=True),
        strict=True,
    ):
        same(result, a @ b)


def float32(*shape):
    return rand(*shape).float()


OF_ANY_SIZE = {
    "plain": ((4, 6, *[3] * 3), {"padding": 1}),
    "of one entry": ((4, 6, *[1] * 3), {}),
    "depthwise": ((6, 1, *[3] * 3), {"padding": 1, "groups": 6}),
    "in groups": ((4, 3, *[2] * 3), {"padding": 1, "groups": 2}),
    "to one channel": ((1, 6, *[3] * 3), {"padding": 1}),
    "of one channel": ((4, 1, *[3] * 3), {"padding": 1}),
    "in steps": ((4, 6, *[2] * 3), {"padding": 1, "stride": 2}),
    "transposed": ((6, 4, *[2] * 3), {"transposed": True}),
}
"""Shapes of weights, as many dimensions of space as are wanted, and options."""


def laid_out(x, layout):
    """Return a tensor ``[images, channels, places]`` with its dimensions in another order."""
    order = {"plain": (0, 1), "channels last": (0, -1), "images between": (-2, -1)}[layout]
    return x.movedim((0, 1), order).contiguous().movedim(order, (0, 1))


@pytest.mark.parametrize("name", OF_ANY_SIZE)
@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("layout", ["plain", "channels last", "images between"])
@pytest.mark.parametrize("of_weight", ["plain", "channels last"])
def test_convolutions_have_the_strides_of_the_operator(name, dims, layout, of_weight):
    """Also where a dimension has one entry, and PyTorch's kernels choose among layouts."""
    shape, given = OF_ANY_SIZE[name]
    options = {"padding": 0, "stride": 1, "transposed": False, "groups": 1, **given}
    weight = laid_out(float32(*shape[: 2 + dims]), of_weight)
    channels = shape[0] if options["transposed"] else shape[1] * options["groups"]
    order = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
    lists = {"dilation": 1, "output_padding": 0, **options}
    rest = [[lists[x]] * dims if x not in ("transposed", "groups") else lists[x] for x in order]
    for images, length in itertools.product((1, 2), (1, 4)):
        x = laid_out(float32(images, channels, *[length] * dims), layout)
        args = x, weight, None, *rest
        expected = aten.convolution.default(*args)
        same(multiplied(recognize(aten.convolution.default, args, {})), expected)
        gradient = torch.ones_like(expected)
        args = gradient, x, weight, [expected.shape[1]], *rest, [True, True, True]
        expected = aten.convolution_backward.default(*args)
        found = multiplied(recognize(aten.convolution_backward.default, args, {}))
        for one, other in zip(found, expected, strict=True):
            same(one, other)


GROUPS = {
    "rows": (float32(7, 16), float32(3, 5, 16).mT),
    "rows of wide results": (float32(7, 16), float32(3, 16, 8)),
    "columns": (float32(3, 5, 16), float32(8, 16).T),
    "depth": (float32(7, 8).T, float32(7, 4)),
}


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("ends", [[2, 2, 7], [0, 0, 7], [1, 2, 7]])
def test_products_in_groups(name, ends):
    a, b = GROUPS[name]
    ends = [*ends[:2], 8] if name == "columns" else ends
    args = (a, b, torch.tensor(ends, dtype=torch.int32))
    found = recognize(aten._grouped_mm.default, args, {})
    assert len(found.products) == len({end for end in ends if end})
    same(multiplied(found), aten._grouped_mm.default(*args))


def test_products_in_groups_of_one_size():
    args = (float32(3, 5, 16), float32(3, 16, 8))
    same(multiplied(recognize(aten._grouped_mm.default, args, {})), aten._grouped_mm.default(*args))


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


def convolve(kernel, stride, size, channels=(3, 7), last=False, **options):
    given = {"padding": 0, "dilation": 1, "groups": 1, "output_padding": 0, "transposed": False}
    given |= options
    dims, groups = len(kernel), given["groups"]
    padding, dilation, extra = (
        [given[key]] * dims for key in ("padding", "dilation", "output_padding")
    )
    inner, outer = channels
    if given["transposed"]:
        inner, outer = outer, inner
    x = float32(2, (outer if given["transposed"] else inner) * groups, *size)
    w = float32(outer * groups, inner, *kernel)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    return x, w, (list(stride), padding, dilation, given["transposed"], extra, groups)


CONVOLUTIONS = {
    "patches": convolve((2, 2), (2, 2), (6, 8)),
    "patches and a rest": convolve((2, 3), (2, 3), (5, 8)),
    "gaps": convolve((2, 2), (3, 4), (8, 9)),
    "pointwise": convolve((1, 1), (1, 1), (3, 4)),
    "1-D": convolve((4,), (4,), (12,)),
    "3-D": convolve((2, 2, 2), (2, 2, 2), (4, 4, 4)),
    "overlapping": convolve((3, 3), (1, 1), (6, 5), padding=1),
    "overlapping with a step": convolve((3, 3), (2, 1), (7, 6), padding=1),
    "overlapping 1-D": convolve((3,), (1,), (9,), padding=2),
    "overlapping 3-D": convolve((2, 3, 2), (1, 1, 1), (4, 4, 4), padding=1),
    "dilated": convolve((3, 2), (1, 2), (8, 9), dilation=2, padding=1),
    "grouped": convolve((3, 3), (1, 1), (6, 6), groups=3),
    "depthwise": convolve((3, 3), (1, 1), (6, 6), channels=(1, 1), groups=4, padding=1),
    "depthwise with a multiplier": convolve((3, 3), (1, 1), (6, 6), channels=(1, 2), groups=4),
    "transposed": convolve((3, 3), (2, 2), (4, 5), transposed=True, padding=1),
    "transposed and extended": convolve(
        (3, 3), (2, 2), (4, 5), transposed=True, padding=1, output_padding=1, dilation=2
    ),
    "transposed in groups": convolve((2, 2), (2, 2), (4, 5), transposed=True, groups=2),
    "channels last": convolve((3, 3), (1, 1), (6, 5), last=True, padding=1),
    "transposed, channels last": convolve((3, 3), (2, 2), (4, 5), last=True, transposed=True),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_convolutions(name, bias):
    x, w, rest = CONVOLUTIONS[name]
    channels = aten.convolution.default(x, w, None, *rest).shape[1]
    args = (x, w, float32(channels) if bias else None, *rest)
    found = recognize(aten.convolution.default, args, {})
    same(multiplied(found), aten.convolution.default(*args))


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("mask", [[True, True, True], [False, True, True], [True, False, False]])
def test_gradients_of_convolutions(name, mask):
    x, w, rest = CONVOLUTIONS[name]
    output = aten.convolution.default(x, w, None, *rest)
    args = (torch.randn_like(output), x, w, [output.shape[1]], *rest, mask)
    results = multiplied(recognize(aten.convolution_backward.default, args, {}))
    expected = aten.convolution_backward.default(*args)
    for result, gradient, wanted in zip(results, expected, mask, strict=True):
        assert (result is not None) == wanted
        if wanted:
            torch.testing.assert_close(result, gradient, rtol=1e-4, atol=1e-5)
            assert result.stride() == gradient.stride()


@pytest.mark.parametrize(
    ("operand", "what"),
    [
        (rand(3, 4).to_sparse(), "sparse_coo"),
        (rand(3, 4).to_sparse_csr(), "sparse_csr"),
        (torch.quantize_per_tensor(rand(3, 4).float(), 0.1, 0, torch.qint8), "quantized"),
        (torch.nested.nested_tensor([rand(3, 4), rand(2, 4)]), "nested"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*prototype")
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_operands_that_are_no_plain_tensors(operand, what):
    assert recognize(aten.mm.default, (operand, rand(4, 5)), {}) == f"an operand is {what}"


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
