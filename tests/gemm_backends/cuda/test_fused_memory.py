"""What a route keeps from run to run."""

from collections import OrderedDict
from types import SimpleNamespace

import pytest

from gemm_backends.cuda.fused.memory import trim


@pytest.mark.parametrize(
    ("sizes", "most", "fewest", "left"),
    [
        ([5, 5, 5], 15, 1, [0, 1, 2]),
        ([5, 5, 5], 14, 1, [1, 2]),
        ([100, 1, 1], 2, 1, [1, 2]),
        ([1, 1, 100], 2, 1, [2]),
        ([100, 100, 100], 2, 2, [1, 2]),
        ([], 0, 0, []),
    ],
)
def test_the_least_recently_used_go_first_and_a_few_always_stay(sizes, most, fewest, left):
    kept = OrderedDict((i, SimpleNamespace(nbytes=size)) for i, size in enumerate(sizes))
    trim(kept, most, fewest)
    assert list(kept) == left
