"""cpu-int8 trusts ``torch._int_mm`` only as far as it has proved it."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gemm_backends import BackendError, load_backend
from gemm_backends.cpu import int8 as cpu_int8

SHAPES = [
    (1, 1, 1),
    (1, 1, 5),
    (17, 1, 9),
    (1, 4096, 1),
    (3, 5, 7),
    (17, 33, 9),
    (65, 257, 33),
    (128, 512, 128),
]

true_int_mm = torch._int_mm


def full_range(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-128, 128, shape, generator=generator).to(torch.int8)


def reference(a, b):
    return (a.to(torch.float64) @ b.to(torch.float64).mT).to(torch.int64)


def saturating_pairs(a, b):
    """What AVX2 computes: (a + 128) as u8 times s8, added pairwise in 16 bits with saturation."""
    left, right = a.to(torch.int32) + 128, b.T.to(torch.int32)
    if left.shape[1] % 2:
        left, right = (torch.nn.functional.pad(x, (0, 1)) for x in (left, right))
    product = torch.empty(len(left), len(right), dtype=torch.int32)
    for row, out in zip(left, product, strict=True):
        pairs = (row * right).unflatten(1, (-1, 2)).sum(2).clamp(-(1 << 15), (1 << 15) - 1)
        out[:] = pairs.sum(1)
    return product - 128 * right.sum(1, dtype=torch.int32)


def saturating_pairs_of_either_side(a, b):
    """What AVX-512 without VNNI computes: a single column of B changes places with A."""
    return saturating_pairs(b.T, a.T).T if b.shape[1] == 1 else saturating_pairs(a, b)


def off_by_one(a, b):
    product = true_int_mm(a, b)
    return product + (product.numel() > 4000)


def uninitialised_for_ambiguous_strides(a, b):
    """What VNNI machines give: garbage for K = 1, broadcast operands, and an oddly strided row."""
    n, d = a.shape
    if d == 1 or 0 in (*a.stride(), *b.stride()) or (n == 1 and a.stride(0) != d):
        return torch.full((len(a), b.shape[1]), 0x5A5A5A5A, dtype=torch.int32)
    return true_int_mm(a, b)


def refused(a, b):
    raise RuntimeError("not implemented for this CPU")


@pytest.fixture
def int_mm(monkeypatch):
    """Replace ``torch._int_mm`` for one test, and have it probed again, by fewer products."""

    def replace(function):
        monkeypatch.setattr(torch, "_int_mm", function)
        monkeypatch.setattr(cpu_int8, "PROBES", [(3, 1, 5), (64, 65, 1), (61, 257, 67)])
        cpu_int8.proven_method.cache_clear()
        return load_backend("cpu-int8")

    yield replace
    cpu_int8.proven_method.cache_clear()


def check_all_shapes(backend):
    for n, d, h in SHAPES:
        a, b = full_range(n, d), full_range(h, d)
        assert torch.equal(backend.multiply(a, b).to(torch.int64), reference(a, b)), (n, d, h)


def test_exact_on_this_machine():
    backend = load_backend("cpu-int8")
    assert backend.availability().available
    check_all_shapes(backend)


@pytest.mark.parametrize("isa", ["AVX2", "AVX512_CORE"])
def test_exact_where_onednn_may_not_use_vnni(isa):
    """In a fresh process, because oneDNN reads the variable once."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_cpu_int8 import check_all_shapes\n"
        "from gemm_backends import load_backend\n"
        "backend = load_backend('cpu-int8')\n"
        "assert backend.availability().available, backend.availability()\n"
        "check_all_shapes(backend)\n"
    )
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": isa}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.parametrize("product", [saturating_pairs, saturating_pairs_of_either_side])
def test_a_product_that_saturates_in_pairs_is_split(int_mm, product):
    backend = int_mm(product)
    a, b = full_range(17, 34), full_range(9, 34)
    assert not torch.equal(product(a, b.T).to(torch.int64), reference(a, b))
    availability = backend.availability()
    assert availability.available
    assert availability.execution == "fallback"
    assert "B is split" in availability.reason
    check_all_shapes(backend)


def test_the_split_at_its_edges(int_mm):
    backend = int_mm(saturating_pairs)
    for left, right in itertools.product((-128, 127), (-128, -65, -64, 64, 65, 127)):
        a = torch.full((3, 10), left, dtype=torch.int8)
        b = torch.full((2, 10), right, dtype=torch.int8)
        assert torch.equal(backend.multiply(a, b).to(torch.int64), reference(a, b)), (left, right)


def test_strides_that_do_not_tell_the_layout(int_mm):
    backend = int_mm(uninitialised_for_ambiguous_strides)
    assert backend.availability().available
    check_all_shapes(backend)
    for d in (1, 2, 17):
        a, b = full_range(1, d).expand(5, d), full_range(7, d)
        assert torch.equal(backend.multiply(a, b).to(torch.int64), reference(a, b))
        assert torch.equal(backend.multiply(b, a).to(torch.int64), reference(b, a))
    b = full_range(7, 17)
    for stride in (0, 1, 16, 1000):
        row = full_range(17).as_strided((1, 17), (stride, 1))
        assert row.is_contiguous()
        assert torch.equal(backend.multiply(row, b).to(torch.int64), reference(row, b))
        assert torch.equal(backend.multiply(b, row).to(torch.int64), reference(b, row))


@pytest.mark.parametrize("broken", [off_by_one, refused])
def test_a_wrong_product_makes_it_unavailable(int_mm, broken):
    backend = int_mm(broken)
    availability = backend.availability()
    assert not availability.available
    assert "wrong products" in availability.reason
    with pytest.raises(BackendError, match="wrong products"):
        backend.multiply(full_range(2, 3), full_range(4, 3))


def test_native_only_with_dot_product_instructions(int_mm, monkeypatch):
    backend = int_mm(true_int_mm)
    if cpu_int8.proven_method() != "direct":
        pytest.skip("this CPU's direct product is wrong, so it is never native")
    for has_vnni, execution in ((True, "native"), (False, "fallback")):
        monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda has=has_vnni: has)
        assert backend.availability().execution == execution


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)])
def test_matmul_takes_batches_and_views(batch):
    backend = load_backend("cpu-int8")
    a, b = full_range(*batch, 34, 5).mT, full_range(*batch, 18, 68)[..., ::2, ::2]
    product = backend.matmul(a, b)
    assert product.dtype == torch.int32
    assert product.shape == (*batch, 5, 9)
    assert torch.equal(product.to(torch.int64), reference(a, b))
