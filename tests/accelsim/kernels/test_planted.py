"""The faults that the GPU's fuzzer must find can still be planted in the sources."""

import pytest
from gpu.planted import PLANTED

from accelsim.kernels.nvcc import CSRC


@pytest.mark.parametrize("part", PLANTED)
def test_a_planted_fault_changes_one_place(part):
    file, right, wrong = PLANTED[part]
    assert (CSRC / file).read_text().count(right) == 1
    assert right != wrong
