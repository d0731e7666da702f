"""Every operator of the installed PyTorch is known to hold GEMMs, or to hold none."""

import pytest
import torch
from torch import nn
from torch.nn.attention.flex_attention import flex_attention
from torch.profiler import ProfilerActivity, profile
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

import accelsim
from workloads.capture import Capture
from workloads.tracing.modes import is_composite
from workloads.tracing.multiplication import RULES
from workloads.tracing.operators import (
    FACTORIZATIONS,
    HIDDEN,
    WITHOUT_GEMMS,
    holds_no_gemm,
    is_hidden,
    plain,
)
from workloads.tracing.steps import STEPS

TESTS_OF_PYTORCH = ("_foobar", "_test_")


def overloads():
    """Return the overloads of ATen that a dispatch mode gets to see."""
    found = []
    for name in torch._C._dispatch_get_all_op_names():
        namespace, _, rest = name.partition("::")
        base, _, overload = rest.partition(".")
        if namespace == "aten" and not base.startswith(TESTS_OF_PYTORCH):
            packet = getattr(torch.ops.aten, base, None)
            func = getattr(packet, overload or "default", None)
            if func is not None and not is_composite(func):
                found.append(func)
    return found


def test_every_operator_is_in_one_list():
    """A new operator of PyTorch is reported as unknown until it is put where it belongs."""
    seen = overloads()
    assert len(seen) > 1000
    unknown = {
        str(func.overloadpacket)
        for func in seen
        if sum([func.overloadpacket in RULES | STEPS, holds_no_gemm(func), is_hidden(func)]) != 1
    }
    assert not unknown


def test_lists_do_not_overlap():
    assert not FACTORIZATIONS & HIDDEN
    assert not {plain(name) for name in FACTORIZATIONS | HIDDEN} & WITHOUT_GEMMS


def test_what_pytorch_itself_counts_is_not_taken_as_free():
    packets = [packet for packet in flop_registry if hasattr(packet, "overloads")]
    assert len(packets) > 10
    for packet in packets:
        for overload in packet.overloads():
            assert not holds_no_gemm(getattr(packet, overload)), packet


GEMMS = (
    "mm",
    "bmm",
    "addmm",
    "baddbmm",
    "mv",
    "addmv",
    "dot",
    "vdot",
    "addbmm",
    "matmul",
    "linear",
)


def gemms_in(function, *args, **kwargs):
    """Return ATen's operators with GEMMs that run inside of a function, whatever calls them."""
    with profile(activities=[ProfilerActivity.CPU]) as found, torch.no_grad():
        function(*args, **kwargs)
    names = {event.name.removeprefix("aten::").rstrip("_") for event in found.events()}
    return names & set(GEMMS)


def test_products_in_kernels_are_found():
    """The next test looks for what is there where there are GEMMs."""
    x = torch.randn(30, 8)
    assert gemms_in(torch.cdist, x, torch.randn(40, 8)) >= {"mm"}
    assert gemms_in(torch.addbmm, torch.randn(3, 3), x[:6].view(2, 3, 8), x[:6].view(2, 8, 3))
    assert not gemms_in(torch.softmax, x, 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_operators_without_gemms_run_none():
    """PyTorch's own samples of every operator, watched from inside of the kernels."""
    invocations = pytest.importorskip("torch.testing._internal.common_methods_invocations")
    checked, wrong = set(), {}
    for info in invocations.op_db:
        name = info.aten_name
        packet = getattr(torch.ops.aten, name, None)
        if packet is None or torch.float32 not in info.dtypes or plain(name) not in WITHOUT_GEMMS:
            continue
        for sample, _ in zip(info.sample_inputs("cpu", torch.float32), range(4), strict=False):
            inside = gemms_in(info.op, sample.input, *sample.args, **sample.kwargs)
            checked.add(name)
            if inside:
                wrong[name] = inside
    assert len(checked) > 250
    assert not wrong


@torch.library.custom_op("accelsim_test::visible", mutates_args=())
def visible(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return torch.mm(x, w.t())


@torch.library.custom_op("accelsim_test::hidden", mutates_args=())
def hidden(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(x.numpy() @ w.numpy().T)


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function
        self.w = nn.Parameter(torch.randn(6, 8))

    def forward(self, x):
        return self.function(x, self.w)


def sparse(x, w):
    return torch.sparse.mm(w.detach().relu().to_sparse(), x.T)


def int8(x, w):
    return torch._int_mm(x.to(torch.int8), w.detach().to(torch.int8).T)


@pytest.mark.parametrize(
    ("function", "reason", "macs"),
    [
        (hidden, "accelsim_test::hidden: not known to hold no GEMM", None),
        (int8, "aten::_int_mm: multiplies matrices in a kernel of its own", 30 * 8 * 6),
        (lambda x, w: torch.linalg.inv(w @ w.T), "aten::linalg_inv_ex: multiplies", None),
        (lambda x, w: torch.pdist(x), "aten::_pdist_forward: multiplies", 30 * 29 // 2 * 8),
    ],
)
@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_what_is_hidden_is_reported(function, reason, macs, guard):
    model = Calls(function)
    with guard(), Capture(model) as capture:
        model(torch.randn(30, 8))
    (found,) = capture.skipped
    assert found.startswith(reason)
    assert "left in floating point" in found
    assert capture.skipped[found] == 1
    if macs is None:
        assert capture.left.unknown[found] == 1
    else:
        assert capture.left.macs[found] == macs


def test_multiplications_of_sparse_operands():
    model = Calls(sparse)
    with torch.no_grad(), Capture(model) as capture:
        model(torch.randn(30, 8))
    entries = int((model.w > 0).sum())
    assert list(capture.left.macs.values()) == [entries * 30]


@pytest.mark.parametrize(
    "function",
    [visible, lambda x, w: torch.cdist(x, w, compute_mode="use_mm_for_euclid_dist")],
)
def test_products_inside_of_a_kernel_are_seen(function):
    model, x = Calls(function), torch.randn(30, 8)
    with torch.no_grad():
        with Capture(model) as capture:
            found = model(x)
        assert torch.equal(found, model(x))
    assert len(capture.gemms) == 1
    assert not capture.skipped


class Wrapped(torch.Tensor):
    """A subclass that holds a plain tensor, as quantized weights and sharded tensors do."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        def plain(x):
            return x.inner if isinstance(x, cls) else x

        return func(*tree_map(plain, args), **tree_map(plain, kwargs or {}))


def nested(x, w):
    return torch.nested.nested_tensor([x[:10], x[10:]], layout=torch.jagged) @ w.T


def nested_attention(x, w):
    heads = [x[:10].view(10, 2, 4), x[10:].view(20, 2, 4)]
    q = torch.nested.nested_tensor(heads, layout=torch.jagged).transpose(1, 2)
    return nn.functional.scaled_dot_product_attention(q, q, q)


def conditional(x, w):
    return torch.cond(x.sum() > 0, lambda y: y @ w.T, lambda y: y @ w.T * 2, (x,))


def flexible(x, w):
    q = x[:, None, None].expand(30, 1, 128, 8).contiguous()
    return flex_attention(q, q, q)


@pytest.mark.parametrize(
    ("function", "gemms"),
    [
        (lambda x, w: x @ Wrapped(w.detach()).mT, 1),
        (nested, 1),
        (nested_attention, None),
        (conditional, 0),
        (flexible, 0),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_operands_and_operators_of_other_kinds_pass_through(function, gemms):
    """The model never ends for our sake; what is not followed is counted."""
    model, x = Calls(function), torch.randn(30, 8)
    with torch.no_grad():
        expected = model(x)
        with Capture(model) as capture:
            found = model(x)
        with accelsim.integer_gemms(model, beta=2.0**20, percentile=100, exact="simulate") as mode:
            rounded = model(x)
    if gemms is not None:
        assert len(capture.gemms) == mode.tally.total.gemms == gemms
    for done in (capture, mode):
        assert len(done.skipped) == (0 if gemms else 1)
        assert all("left in floating point" in reason for reason in done.skipped)
    for result in (found, rounded):
        pair = [x.values() if x.is_nested else x for x in (result, expected)]
        torch.testing.assert_close(*pair, rtol=1e-3, atol=1e-4)


class OnAGraph(nn.Module):
    """A linear layer, then a product with a buffer that is no view of any memory."""

    def __init__(self, convert):
        super().__init__()
        self.first = nn.Linear(8, 4)
        self.register_buffer("adjacency", convert((torch.rand(6, 6) > 0.5).float()))

    def forward(self, x):
        known = self.adjacency
        return (known.to_dense() if known.is_mkldnn else known) @ self.first(x)


@pytest.mark.parametrize(
    "convert",
    [
        torch.Tensor.to_sparse,
        torch.Tensor.to_sparse_csr,
        lambda x: x.to_sparse_bsr((2, 2)),
        torch.Tensor.to_mkldnn,
    ],
    ids=["coo", "csr", "bsr", "mkldnn"],
)
@pytest.mark.parametrize("way", [{"exact": "simulate"}, {"backend": "int64", "check": True}])
@pytest.mark.filterwarnings("ignore")
def test_buffers_without_strides_are_no_weights(convert, way):
    model, x = OnAGraph(convert), torch.randn(6, 8)
    with torch.no_grad():
        expected = model(x)
        with accelsim.integer_gemms(model, beta=2.0**20, percentile=100, **way) as mode:
            found = model(x)
            # An operator that says that it writes to a sparse operand.
            both = torch.eye(6).to_sparse(), torch.eye(6)
            both[0].sspaddmm(*both[:1], both[1])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert any("sspaddmm" in reason for reason in mode.skipped)
    dense = model.adjacency.is_mkldnn
    assert mode.tally.total.gemms == (2 if dense else 1)
    assert any("an operand is sparse" in reason for reason in mode.skipped) != dense


NESTED = [torch.randn(3, 8), torch.randn(5, 8)]


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: nn.functional.linear(torch.nested.nested_tensor(NESTED), w),
        lambda x, w: torch.nested.nested_tensor(NESTED) @ torch.nested.nested_tensor([w.T, w.T]),
    ],
)
@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_nested_operands_of_any_layout_pass_with_a_count(function, guard):
    """Their sizes are unknown, and so are the multiplications; the model runs on."""
    model, x = Calls(function), torch.randn(2, 8)
    with guard():
        plain = model(x)
        with accelsim.integer_gemms(model, beta=15) as mode:
            found = model(x)
    assert all(torch.equal(*pair) for pair in zip(found.unbind(), plain.unbind(), strict=True))
    (reason,) = mode.skipped
    assert "an operand is nested" in reason
    assert mode.tally.summary()["skipped_unknown"] == 1


def test_composite_operators_with_kernels_of_their_own_are_named():
    """Inference mode shows them; elsewhere the dispatcher does not."""
    x = torch.randn(6, 8)
    try:
        packed = torch.ops.aten.fbgemm_pack_gemm_matrix_fp16(torch.randn(5, 8))
    except (RuntimeError, AttributeError) as error:
        pytest.skip(f"no FBGEMM here: {error}")
    multiply = torch.ops.aten.fbgemm_linear_fp16_weight_fp32_activation
    model = Calls(lambda x, w: multiply(x, packed, torch.zeros(5)))
    with torch.inference_mode(), accelsim.integer_gemms(model, beta=15) as mode:
        model(x)
    (reason,) = mode.skipped
    assert reason.startswith("aten::fbgemm_linear_fp16_weight_fp32_activation: multiplies matrices")


def test_operators_that_the_dispatcher_does_not_know_run():
    """TorchScript's own, which `torch.export` calls."""
    model = Calls(lambda x, w: torch.ops.prim.device(x) == w.device and x @ w.T)
    with torch.no_grad(), accelsim.integer_gemms(model, beta=15) as mode:
        assert model(torch.randn(2, 8)).shape == (2, 6)
    assert mode.tally.summary()["gemms"] == 1
