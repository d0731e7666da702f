"""cuda-int8 on a real GPU: padding, batches and what its accumulator does."""

import pytest
import torch

from gemm_backends import GemmSpec, load_backend
from gemm_backends.conformance import BackendConformance

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def digits(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-128, 128, shape, generator=generator).to(torch.int8)


def reference(a, b):
    return (a.cpu().to(torch.float64) @ b.cpu().to(torch.float64).mT).to(torch.int64)


@pytest.mark.parametrize(
    ("n", "d", "h"),
    [
        (1, 1, 1),
        (16, 8, 8),
        (17, 8, 8),
        (17, 7, 9),
        (24, 16, 7),
        (33, 257, 31),
        (1, 4096, 64),
        (64, 4096, 1),
        (512, 1000, 300),
        (0, 5, 3),
        (3, 0, 5),
        (5, 3, 0),
        (2, 131071, 2),
        (4096, 32, 4088),
    ],
)
@pytest.mark.parametrize("batch", [(), (3,), (0,)])
def test_exact_for_any_shape(n, d, h, batch):
    backend = load_backend("cuda-int8")
    assert backend.availability().available, backend.availability().reason
    a, b = digits(*batch, n, d).cuda(), digits(*batch, h, d).cuda()
    product = backend.multiply(a, b)
    assert product.device.type == "cuda"
    assert product.dtype == torch.int32
    assert torch.equal(product.cpu().to(torch.int64), reference(a, b))
    assert torch.equal(backend.multiply(backend.prepared(a), backend.prepared(b)), product)


@pytest.mark.parametrize("size", [2, 24, 32, 64, 256])
def test_exact_up_to_the_bound_and_undefined_beyond(size):
    """Which of the two happens depends on the size: cuBLAS has kernels that saturate."""
    backend = load_backend("cuda-int8")
    lowest = torch.full((size, 131072), -128, dtype=torch.int8, device="cuda")
    fits = backend.multiply(lowest[:, 1:], lowest[:, 1:])
    assert (fits == (1 << 31) - (1 << 14)).all()
    beyond = backend.multiply(lowest, lowest).unique().tolist()
    assert beyond in ([-(1 << 31)], [(1 << 31) - 1])


def test_executed_macs_count_the_padding():
    backend = load_backend("cuda-int8")
    assert backend.executed_macs(GemmSpec(8, 8, 17, 9, 9)) == 32 * 16 * 16
    assert backend.executed_macs(GemmSpec(8, 8, 1, 1, 1)) == 32 * 8 * 16
    assert backend.executed_macs(GemmSpec(8, 8, 64, 64, 64)) == 64**3


class TestConformance(BackendConformance):
    def make_backend(self):
        return load_backend("cuda-int8")
