"""Which CUTLASS kernel a shape gets, and how its tiles are ordered: no GPU is needed to decide."""

import pytest

from gemm_backends.cuda.cutlass_kernels import HOPPER, OTHERS, kernel_for
from gemm_backends.cuda.cutlass_library import stays_cached, swizzle


@pytest.mark.parametrize(
    ("n", "h", "d", "kernel"),
    [
        (8192, 8192, 8192, "large"),
        (4096, 11008, 4096, "broad"),
        (11008, 4096, 4096, "broad"),
        (2048, 2048, 4096, "large"),
        (1536, 1536, 4096, "medium"),
        (512, 512, 512, "small"),
        (16, 8192, 8192, "small"),
    ],
)
def test_hopper(n, h, d, kernel):
    assert kernel_for(HOPPER, n, h, d, 1).symbol == f"accelsim_int8_sm90_{kernel}"


def test_a_batch_has_more_tiles():
    assert kernel_for(HOPPER, 512, 512, 64, 1).symbol.endswith("small")
    assert kernel_for(HOPPER, 512, 512, 64, 8).symbol.endswith("medium")
    assert kernel_for(OTHERS, 512, 512, 64, 1).symbol.endswith("small")
    assert kernel_for(OTHERS, 512, 512, 64, 16).symbol.endswith("large")


def test_the_shorter_side_decides_what_stays_cached():
    assert stays_cached(1 << 20, 1024, 1024)
    assert stays_cached(1024, 1 << 20, 1024)
    assert not stays_cached(8192, 8192, 8192)


@pytest.mark.parametrize(
    ("down", "across", "lines"), [(64, 64, 8), (32, 43, 4), (32, 86, 8), (33, 5, 1), (36, 64, 2)]
)
def test_lines_side_by_side_do_not_pad_much(down, across, lines):
    assert swizzle(down, across) == lines
