"""The CUTLASS backends: any shape, every kernel, batches, and what their accumulators do."""

from itertools import pairwise

import pytest
import torch

from gemm_backends import GemmSpec, load_backend
from gemm_backends.conformance import BackendConformance
from gemm_backends.cuda.cutlass_int4 import KERNELS, is_native
from gemm_backends.cuda.cutlass_kernels import HOPPER, OTHERS, has_wgmma
from gemm_backends.cuda.cutlass_library import DigitGroups, TileRun

SHAPES = [
    (1, 1, 1),
    (16, 8, 8),
    (17, 7, 9),
    (33, 257, 31),
    (1, 4096, 64),
    (64, 4096, 1),
    (129, 128, 257),
    (512, 1000, 300),
    (3000, 136, 1030),
    (0, 5, 3),
    (3, 0, 5),
    (5, 3, 0),
]


def digits(bits, *shape):
    generator = torch.Generator("cuda").manual_seed(sum(shape))
    low, high = -(1 << (bits - 1)), 1 << (bits - 1)
    return torch.randint(low, high, shape, generator=generator, device="cuda").to(torch.int8)


def reference(a, b):
    return (a.to(torch.float64) @ b.to(torch.float64).mT).to(torch.int64)


@pytest.fixture(params=["cutlass-int8", "cutlass-int8 mma", "cutlass-int4"])
def backend(request):
    name, _, instructions = request.param.partition(" ")
    return load_backend(name, **({"instructions": instructions} if instructions else {}))


@pytest.mark.parametrize(("n", "d", "h"), SHAPES)
@pytest.mark.parametrize("batch", [(), (3,), (2, 2), (0,)])
def test_exact_for_any_shape(backend, n, d, h, batch):
    assert backend.availability().available, backend.availability().reason
    bits = backend.operand_bits[0]
    a, b = digits(bits, *batch, n, d), digits(bits, *batch, h, d)
    product = backend.multiply(a, b)
    assert product.device.type == "cuda"
    assert product.dtype == torch.int32
    assert torch.equal(product.to(torch.int64), reference(a, b))
    assert torch.equal(backend.multiply(backend.prepared(a), backend.prepared(b)), product)


@pytest.mark.parametrize("kernel", [*HOPPER, *OTHERS], ids=lambda kernel: kernel.symbol)
@pytest.mark.parametrize(("n", "d", "h"), [(1, 16, 4), (300, 400, 520), (260, 4112, 260)])
def test_every_int8_kernel_writes_every_entry(kernel, n, d, h):
    if kernel in HOPPER and not has_wgmma():
        pytest.skip("needs compute capability 9.0")
    a, b = digits(8, 2, n, d), digits(8, 2, h, d)
    poisoned = torch.full((2, n, h), 0x7BADBEEF, dtype=torch.int32, device="cuda")
    kernel(a, b, poisoned, d)
    assert torch.equal(poisoned.to(torch.int64), reference(a, b))


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.symbol)
def test_every_int4_kernel_writes_every_entry(kernel):
    backend = load_backend("cutlass-int4")
    a, b = digits(4, 2, 300, 416), digits(4, 2, 520, 416)
    poisoned = torch.full((2, 300, 520), 0x7BADBEEF, dtype=torch.int32, device="cuda")
    x, y = backend.prepare(a).digits, backend.prepare(b).digits
    kernel(x, y, poisoned, 416, elements_per_byte=2)
    assert torch.equal(poisoned.to(torch.int64), reference(a, b))


def test_groups_of_k_weigh_what_they_should():
    """K is [2^24 | 2^16 | 2^8 | 1]: the accumulators are shifted between the groups."""
    if not has_wgmma():
        pytest.skip("needs compute capability 9.0")
    for kernel in HOPPER:
        for tiles in ((0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 1), (0, 1, 0), (1, 2, 3), (1, 0, 0)):
            front = 128 * sum(tiles)
            a, b = digits(8, 1, 200, front + 300), digits(8, 1, 140, front + 300)
            a, b = (torch.nn.functional.pad(x, (0, 4)) for x in (a, b))
            product = torch.empty((1, 200, 140), dtype=torch.int32, device="cuda")
            kernel(a, b, product, front + 304, groups=DigitGroups(tiles, 8, ()))
            edges = (0, 128 * tiles[0], 128 * sum(tiles[:2]), front, front + 304)
            parts = [reference(a[..., i:j], b[..., i:j]) for i, j in pairwise(edges)]
            expected = sum(part << 8 * (3 - group) for group, part in enumerate(parts))
            assert torch.equal(product, expected.to(torch.int32)), (kernel.symbol, tiles)


def test_segments_lie_where_each_tile_of_the_result_wants_them():
    if not has_wgmma():
        pytest.skip("needs compute capability 9.0")
    n, h = 700, 520
    a, b = digits(8, 1, n, 128 * 7), digits(8, 1, h, 128 * 6)
    segments = [TileRun(1, 2, 1), TileRun(1, 1, 3, a_step=2), TileRun(2, 5, 0, b_step=2)]
    expected = torch.zeros((n, h), dtype=torch.int64, device="cuda")
    for i in range(0, n, 256):
        for j in range(0, h, 256):
            for s in segments:
                first_a, first_b = s.a + j // 256 * s.a_step, s.b + i // 256 * s.b_step
                x = a[:, i : i + 256, 128 * first_a : 128 * (first_a + s.tiles)]
                y = b[:, j : j + 256, 128 * first_b : 128 * (first_b + s.tiles)]
                expected[i : i + 256, j : j + 256] += reference(x, y)[0]
    for kernel in HOPPER:
        product = torch.empty((1, n, h), dtype=torch.int32, device="cuda")
        kernel(a, b, product, 128 * 4, groups=DigitGroups((0, 0, 0), 8, segments))
        assert torch.equal(product[0].to(torch.int64), expected), kernel.symbol


def test_strided_digits_are_taken_as_they_are(backend):
    bits = backend.operand_bits[0]
    a, b = digits(bits, 200, 60).T, digits(bits, 200, 90)[::2, ::3].T.contiguous().T
    b = torch.cat([b, b])[:, : a.shape[1]].T[:60].T
    a = a[:, : b.shape[1]]
    assert torch.equal(backend.multiply(a, b).to(torch.int64), reference(a, b))


def test_int4_says_how_it_runs():
    said = load_backend("cutlass-int4").availability()
    native = torch.cuda.get_device_capability() < (9, 0)
    assert said.execution == ("native" if native else "emulated")
    assert is_native(torch.cuda.get_device_capability()) == native
    assert native or "no int4 instruction" in said.reason


def test_executed_macs_count_the_tiles():
    macs = load_backend("cutlass-int8", instructions="mma").executed_macs(GemmSpec(8, 8, 1, 1, 1))
    assert macs == 64 * 64 * 64


def test_a_product_can_be_captured_in_a_graph(backend):
    bits = backend.operand_bits[0]
    a, b = (backend.prepared(digits(bits, 256, 512)) for _ in range(2))
    expected = backend.multiply(a, b)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        product = backend.multiply(a, b)
    product.fill_(-1)
    graph.replay()
    assert torch.equal(product, expected)


class TestInt8Conformance(BackendConformance):
    def make_backend(self):
        return load_backend("cutlass-int8")


class TestInt8MmaConformance(BackendConformance):
    def make_backend(self):
        return load_backend("cutlass-int8", instructions="mma")


class TestInt4Conformance(BackendConformance):
    def make_backend(self):
        return load_backend("cutlass-int4")
