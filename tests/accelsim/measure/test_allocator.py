"""Freed memory is handed out again, pages and all."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from accelsim.measure.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
seen = []
for _ in range(24):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    product = torch.empty(2048, 2048, dtype=torch.int64).fill_(1)
    seen.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    del product
print(min(seen[12:]) * resource.getpagesize())
"""


@pytest.mark.parametrize(("how", "fresh"), [("kept", False), ("given back", True)])
def test_pages_of_a_product_are_touched_once(how, fresh):
    """The second case is the default: it would not fault if there were nothing to mend.

    glibc fits an aligned block into a freed one of its size after some rounds, not in each.
    """
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
    )
    assert (int(done.stdout) > 2048 * 2048 * 8 // 2) is fresh
