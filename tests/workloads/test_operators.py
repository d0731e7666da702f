"""Every operator of the installed PyTorch is known to hold GEMMs, or to hold none."""

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import flop_registry

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


def kernels(func, sample):
    """Return the names of ATen's operators that run when a function is called."""
    with profile(activities=[ProfilerActivity.CPU]) as found, torch.no_grad():
        func(sample.input, *sample.args, **sample.kwargs)
    return {event.name for event in found.events() if event.name.startswith("aten::")}


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
            inside = kernels(info.op, sample) & {f"aten::{gemm}" for gemm in GEMMS}
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
