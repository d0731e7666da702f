"""What an estimate of a run is scaled up from."""

import pytest

from accelsim.runner.estimate import typical
from workloads import Gemm


def gemm(n):
    def never():
        raise AssertionError("not read")

    return Gemm(
        workload="w", name=f"g{n}", op="linear", phase="forward", layer="", batch=1, n=n, d=8, h=8,
        load=never,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([5], 5),
        ([7, 7, 7], 7),
        ([1] * 50 + [1000], 1000),
        ([1000] + [1] * 50, 1000),
        ([10] * 9 + [80], 10),
        ([1, 2, 3], 2),
    ],
)
def test_half_of_the_multiplications_are_in_gemms_up_to_the_typical_one(sizes, expected):
    assert typical([gemm(n) for n in sizes]).n == expected
