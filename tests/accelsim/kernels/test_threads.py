"""Compiled kernels on several threads: torch's own, or ours where that is not possible."""

import multiprocessing
import threading

import numpy as np
import pytest
import torch
from numba import njit

from accelsim.kernels import threads as parallel
from accelsim.kernels.threads import SMALL, over_lines

LINES = 64


@njit(nogil=True)
def square(start, stop, values, out):
    for i in range(start, stop):
        out[i] = values[i] * values[i]
    return start, stop


def squares():
    values = np.arange(LINES)
    out = np.zeros_like(values)
    ranges = over_lines(square, LINES, SMALL, values, out)
    assert (out == values**2).all()
    return ranges


@pytest.fixture(params=["torch's", "own"])
def threads(request, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    if request.param == "own":
        monkeypatch.setattr(parallel, "_openmp", lambda: None)
    elif parallel._openmp() is None:
        pytest.skip("this torch has another OpenMP library than GCC's")
    yield
    torch.set_num_threads(before)


def test_ranges_make_up_all_lines_in_order(threads):
    assert squares() == [(0, 21), (21, 42), (42, 64)]


def test_several_threads_work(threads):
    meeting = threading.Barrier(3, timeout=60)

    def kernel(start, stop):
        meeting.wait()
        return threading.get_ident()

    assert len(set(over_lines(kernel, LINES, SMALL))) == 3


@pytest.mark.parametrize("failing", [0, 2])
def test_an_exception_in_a_thread_is_raised(threads, failing):
    def kernel(start, stop):
        if start == 64 * failing // 3:
            raise ZeroDivisionError("in a thread")

    with pytest.raises(ZeroDivisionError, match="in a thread"):
        over_lines(kernel, LINES, SMALL)
    squares()


def test_between_operations_of_torch(threads):
    x = torch.randn(300, 300)
    for _ in range(20):
        torch.mm(x, x)
        squares()


def test_in_a_forked_process_after_use_in_its_parent(threads):
    torch.mm(torch.randn(300, 300), torch.randn(300, 300))
    squares()
    child = multiprocessing.get_context("fork").Process(target=squares)
    child.start()
    child.join(60)
    if child.exitcode is None:
        child.kill()
    assert child.exitcode == 0
