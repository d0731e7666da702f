"""What every benchmark says beside its time: its floor in bytes, and how far above it it is."""

import statistics
from time import perf_counter

import pytest
import torch

from accelsim.measure.allocator import keep_freed_memory

COPIED = 1 << 28
"""Bytes of the copy that measures the memory, far more than any cache holds."""

_report = pytest.StashKey[list]()


def pytest_configure(config):
    keep_freed_memory()  # as `accelsim run` does
    config.stash[_report] = []


@pytest.fixture(scope="session")
def bandwidth():
    """Bytes a second that a copy of a large tensor moves, read and written, on torch's threads."""
    source = torch.ones(COPIED // 4)
    target = torch.empty_like(source)
    times = []
    for _ in range(7):
        start = perf_counter()
        target.copy_(source)
        times.append(perf_counter() - start)
    return 2 * COPIED / statistics.median(times)


@pytest.fixture
def measure(benchmark, bandwidth, request):
    """Time a function and compare the median with the time that its floor of bytes takes."""

    def run(function, setup=None, *, floor, rounds=15, **facts):
        prepare = None if setup is None else (lambda: (setup(), {}))
        result = benchmark.pedantic(function, setup=prepare, rounds=rounds, warmup_rounds=2)
        if benchmark.stats is not None:
            median = benchmark.stats.stats.median
            benchmark.extra_info |= {
                "floor_bytes": floor,
                "floor_ms": floor / bandwidth * 1e3,
                "ratio_to_floor": median * bandwidth / floor,
                **{name: fact(median) if callable(fact) else fact for name, fact in facts.items()},
            }
            request.config.stash[_report].append((request.node.name, median, benchmark.extra_info))
        return result

    return run


def pytest_terminal_summary(terminalreporter, config):
    lines = config.stash[_report]
    if not lines:
        return
    terminalreporter.section("floors: what must be moved, at the speed of a copy")
    width = max(len(name) for name, _, _ in lines)
    for name, median, info in lines:
        info = dict(info)
        moved, floor, ratio = (
            info.pop(key) for key in ("floor_bytes", "floor_ms", "ratio_to_floor")
        )
        more = "".join(f", {key.replace('_', ' ')} {value:.4g}" for key, value in info.items())
        terminalreporter.write_line(
            f"{name:{width}} {median * 1e3:9.3f} ms = {ratio:6.1f} x {floor:8.3f} ms "
            f"({moved / 1e6:.1f} MB){more}"
        )
