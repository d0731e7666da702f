"""The floating-point products that integer ones are compared with."""

import pytest
import torch

from accelsim.errors import InputError
from gemm_backends.baselines import list_baselines, load_baseline


@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [
        ("fp64", torch.float64, 1e-14),
        ("fp32", torch.float32, 1e-5),
        ("bf16", torch.bfloat16, 2e-2),
        ("fp16", torch.float16, 2e-3),
    ],
)
@pytest.mark.parametrize("batch", [(), (3,)])
def test_product(name, dtype, tolerance, batch):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(*batch, 7, 20, generator=generator, dtype=torch.float64)
    b = torch.randn(*batch, 5, 20, generator=generator, dtype=torch.float64)
    baseline = load_baseline(name)
    assert baseline.availability("cpu").available
    product = baseline.matmul(a, b)
    assert product.dtype == dtype
    error = (product.double() - a @ b.mT).norm() / (a @ b.mT).norm()
    assert error < tolerance
    assert torch.equal(baseline.matmul(baseline.prepare(a), baseline.prepare(b)), product)


def test_fp32_is_fp32_whatever_the_process_is_set_to(monkeypatch):
    a = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
    seen = []
    monkeypatch.setattr(
        torch.Tensor,
        "__matmul__",
        lambda x, y: seen.append(torch.get_float32_matmul_precision()) or torch.mm(x, y),
    )
    torch.set_float32_matmul_precision("medium")
    try:
        load_baseline("fp32").matmul(a, a)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert seen == ["highest"]


def test_tf32_wants_a_gpu():
    availability = load_baseline("tf32").availability("cpu")
    assert not availability.available
    assert "NVIDIA GPU" in availability.reason


def test_unknown_baseline():
    assert list_baselines() == ["fp64", "fp32", "tf32", "bf16", "fp16", "fp8"]
    with pytest.raises(InputError, match=r"unknown baseline 'bf61'; did you mean 'bf16'\?"):
        load_baseline("bf61")
