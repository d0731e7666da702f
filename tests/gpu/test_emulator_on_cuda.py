"""The emulator on CUDA tensors equals the emulator on the CPU."""

import pytest
import torch

from gemm_backends import load_backend

OPTIONS = {
    "wrap": {},
    "saturate": {"accumulator_bits": 14, "overflow": "saturate"},
    "tree and blocks": {
        "accumulator_bits": 14,
        "overflow": "saturate",
        "tree": 3,
        "k_block": 20,
        "outer_bits": 16,
    },
    "table": {"multiplier": "mitchell", "accumulator_bits": 14, "overflow": "saturate"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("shape", [(33, 70, 24), (2, 5, 64, 7), (0, 3, 4)])
def test_it_equals_the_cpu(generator, options, shape):
    *batch, n, d, h = shape
    a, b = (
        torch.randint(-32, 32, (*batch, rows, d), generator=generator, device="cuda").to(torch.int8)
        for rows in (n, h)
    )
    backend = load_backend("emulator", bits=6, **options)
    product, report = backend.multiply_report(a, b)
    expected, wanted = backend.multiply_report(a.cpu(), b.cpu())
    assert product.device.type == "cuda"
    assert torch.equal(product.cpu().long(), expected.long())
    assert report == wanted
