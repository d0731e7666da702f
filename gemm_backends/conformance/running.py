"""Checks of a backend in use: threads, memory, and whether its speed fits what it claims."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from threading import Barrier
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gemm_backends.base import GemmBackend
from gemm_backends.baselines import load_baseline
from gemm_backends.conformance.check import CheckFailed, NotApplicable, check
from gemm_backends.conformance.operands import usual_shape
from gemm_backends.conformance.subject import Subject

IN_THREADS = ((200, 304, 200), (160, 400, 136), (96, 256, 232), (256, 128, 72))
"""What each thread multiplies: large enough that the calls meet, and all different."""

THREADS = len(IN_THREADS)
CALLS_PER_ROUND = 8
OVERLAPPED, THREAD_SECONDS = 600, 2.0
"""The threads go on until so many calls have overlapped, or for so long."""

SLOW_CALL = 0.02
"""Seconds from which on a product is too slow to be made that often; a smaller one is, then."""

CALLS = 32
"""Calls over which memory must not grow."""

MANY_CALLS = 512
MANY_SECONDS = 1.0
"""Calls of a small product over which memory must not grow, and what they may take together."""

SMALL_LEAK = 1024
"""Bytes per call that are not counted as a leak: the interpreter's own memory comes and goes."""

WINDOWS = 3
"""Times that as many calls must leave memory behind before it counts as a leak."""

LARGE = ((256, 64, 256), (64, 2048, 64))
"""Shapes whose result, and whose operands, are large."""

PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "mv", "dot", "linear")
WIDE = (torch.float32, torch.float64, torch.int32, torch.int64)

SPEED_SIZE = {"cuda": 4096}
SPEED_SIZE_ELSEWHERE = 1024
"""Dimensions of the product that is timed, by kind of device."""

PAIRS = 10
"""Times that both products are timed, in turns.

Were a backend no slower than float32, noise would put all of its times above all of float32's in
one of C(20, 10) = 184,756 cases.
"""


@check
def threads(subject: Subject) -> str:
    """One instance may be used by several threads at once."""
    usual = usual_shape(subject)
    shapes = [shape if subject.supports(*shape) else usual for shape in IN_THREADS]
    a, b = subject.random(*shapes[0])
    once = [_seconds(lambda: subject.backend.multiply(a, b)) for _ in range(2)]
    if min(once) > SLOW_CALL:  # the first may compile
        shapes = [usual] * THREADS
    operands = [subject.random(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    expected = [subject.expected(a, b) for a, b in operands]
    barrier = Barrier(THREADS)

    def work(index: int) -> list[_Call]:
        a, b = operands[index]
        calls = []
        barrier.wait()
        for _ in range(CALLS_PER_ROUND):
            start = perf_counter()
            product = subject.backend.multiply(a, b)
            calls.append(_Call(start, perf_counter(), product))
        return calls

    overlapped = made = 0
    deadline = perf_counter() + THREAD_SECONDS
    with ThreadPoolExecutor(THREADS) as pool, _switching_often():
        while overlapped < OVERLAPPED and (made == 0 or perf_counter() < deadline):
            running = [pool.submit(work, index) for index in range(THREADS)]
            found = [one.result() for one in running]
            overlapped += _overlapped(found)
            for index, calls in enumerate(found):
                made += len(calls)
                for call in calls:
                    what = f"thread {index + 1} of {THREADS}"
                    subject.compare(call.product, expected[index], what)
    return f"{overlapped} of {made} calls in {THREADS} threads overlapped with another thread's"


class _Call(NamedTuple):
    """When a call began and ended, and what it returned."""

    start: float
    end: float
    product: Tensor


def _overlapped(found: Sequence[Sequence[_Call]]) -> int:
    """Return how many calls ran while a call of another thread did."""
    count = 0
    for index, calls in enumerate(found):
        others = [call for other in (*found[:index], *found[index + 1 :]) for call in other]
        for call in calls:
            count += any(call.start < other.end and other.start < call.end for other in others)
    return count


@contextlib.contextmanager
def _switching_often() -> Iterator[None]:
    """Let Python change threads every few instructions, so that more of their orders occur."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@check
def memory(subject: Subject) -> str:
    """Memory does not grow from call to call: neither results nor operands are kept."""
    shapes = [subject.aligned(shape) for shape in LARGE]
    shapes = [shape for shape in shapes if subject.supports(*shape)]
    if not shapes:
        raise NotApplicable(f"supports() refuses {' and '.join(map(str, LARGE))}")
    for n, d, h in shapes:
        a, b = subject.random(n, d, h)
        _must_not_grow(subject, a, b, CALLS, max(a.nbytes, b.nbytes, 4 * n * h) // 2)
    a, b = subject.random(*usual_shape(subject))
    if MANY_CALLS * _seconds(lambda: subject.backend.multiply(a, b)) > MANY_SECONDS:
        return f"{CALLS} calls each of {len(shapes)} shapes"
    _must_not_grow(subject, a, b, MANY_CALLS, SMALL_LEAK)
    return f"{CALLS} calls each of {len(shapes)} shapes, {MANY_CALLS} of a small one"


def _must_not_grow(subject: Subject, a: Tensor, b: Tensor, calls: int, allowed: int) -> None:
    """Require that as many calls leave no more than some bytes each behind."""
    for _ in range(4):
        subject.backend.multiply(a, b)
    for _ in range(WINDOWS):
        grown = _growth(subject, a, b, calls)
        if grown <= calls * allowed:
            return
    (n, d), h = a.shape, len(b)
    raise CheckFailed(
        f"{calls} calls of [{n}, {d}] x [{h}, {d}], whose operands and result take up to "
        f"{max(a.nbytes, b.nbytes, 4 * n * h) / 2**20:.2g} MiB each, left "
        f"{grown / 2**20:.2g} MiB behind, {WINDOWS} times in a row"
    )


def _growth(subject: Subject, a: Tensor, b: Tensor, calls: int) -> int:
    """Return by how many bytes the process grows over as many products."""
    before = _memory(subject.device)
    for _ in range(calls):
        subject.backend.multiply(a, b)
    after = _memory(subject.device)
    return max(later - earlier for earlier, later in zip(before, after, strict=True))


def _memory(device: str) -> tuple[int, ...]:
    """Return the bytes that this process holds: on the GPU, or in main memory in two ways.

    Those that the C library has handed out do not shrink when the system takes pages back, or
    when what others freed is used again; those resident hold what an accelerator's own allocator
    takes.
    """
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
        return (torch.cuda.memory_allocated(),)
    return _allocated(), _resident()


_MALLOC_INFO = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
    *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)


class _MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later."""

    _fields_ = [(name, ctypes.c_size_t) for name in _MALLOC_INFO]


def _allocated() -> int:
    """Return the bytes in use from malloc, over all threads; 0 where the C library can't tell."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return 0
    mallinfo.restype = _MallocInfo
    info = mallinfo()
    return int(info.uordblks + info.hblkhd)


def _resident() -> int:
    """Return the bytes of this process in main memory, without what malloc keeps for later."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


@check
def execution(subject: Subject) -> str:
    """Native backends do not use torch's wide products, and are not slower than one in float32."""
    claimed = subject.backend.status().execution
    if claimed != "native":
        silent = type(subject.backend).availability is GemmBackend.availability
        said = "says nothing about being native" if silent else f"claims to be {claimed}"
        raise NotApplicable(f"it {said}")
    size = SPEED_SIZE.get(torch.device(subject.device).type, SPEED_SIZE_ELSEWHERE)
    if not subject.supports(size, size, size):
        raise NotApplicable(f"supports() refuses {size} x {size} x {size}")
    a, b = subject.random(size, size, size)
    prepared = subject.backend.prepared(a), subject.backend.prepared(b)
    with _Products() as seen:  # type: ignore[no-untyped-call]
        first = subject.backend.multiply(*prepared)
    if seen.wide:
        raise CheckFailed(f"it multiplies by {seen.wide}: that is emulated or a fallback")
    baseline = load_baseline("fp32")
    floats = baseline.prepare(a), baseline.prepare(b)
    mine, floating = _timed_in_turns(
        lambda: subject.backend.multiply(*prepared), lambda: baseline.matmul(*floats)
    )
    last, correct = subject.backend.multiply(*prepared), subject.expected(a, b)
    for which, product in (("first", first), ("last", last)):
        subject.compare(product, correct, f"{size}^3, the {which} of {PAIRS + 3} products")
    what = f"{size}^3 takes {_span(mine)} ms, {_span(floating)} ms in float32"
    if min(mine) > max(floating):
        raise CheckFailed(
            f"{what}: not faster than floats, it counts as emulated or a fallback. If its own code "
            "multiplies, repeat this on a quiet machine with OMP_NUM_THREADS=1, or make it faster; "
            'until then declare execution="emulated", which marks its times'
        )
    if median(mine) > median(floating):
        raise NotApplicable(f"not decided, the times overlap: {what}")
    return what


def _timed_in_turns(
    first: Callable[[], Tensor], second: Callable[[], Tensor]
) -> tuple[list[float], list[float]]:
    """Return the seconds that two calls take, each `PAIRS` times, after one that does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(PAIRS + 1):
        for call, taken in zip((first, second), times, strict=True):
            taken.append(_seconds(call))
    return times[0][1:], times[1][1:]


def _span(seconds: Sequence[float]) -> str:
    return f"{min(seconds) * 1e3:.3g} to {max(seconds) * 1e3:.3g}"


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes a product by torch whose operands are wider than any digit."""

    wide = ""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = func.overloadpacket.__name__
        tensors = [x for x in args if isinstance(x, Tensor) and x.ndim > 1]
        if name in PRODUCTS and tensors and tensors[-1].dtype in WIDE:
            self.wide = f"torch's {name} in {str(tensors[-1].dtype).removeprefix('torch.')}"
        return func(*args, **(kwargs or {}))


def _seconds(call: Callable[[], Tensor]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter() - start


CHECKS = (threads, memory, execution)
