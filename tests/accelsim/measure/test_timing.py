"""Timers: what is counted, what is forgotten, and that the clock is the right one."""

import gc
import time

import pytest
import torch

from accelsim.measure.timing import (
    Samples,
    StageTimer,
    clock_source,
    measure,
    measure_in_turns,
)

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


class ManualClock:
    """A clock that moves when it is told to, and whose marks may be read only after a wait."""

    def __init__(self):
        self.now = 0.0
        self.pending = 0

    def mark(self):
        self.pending += 1
        return self.now

    def wait(self):
        self.pending = 0

    def milliseconds(self, start, end):
        assert self.pending == 0, "read before the device was done"
        return end - start

    def spend(self, milliseconds):
        self.now += milliseconds


@pytest.fixture
def clock(monkeypatch):
    manual = ManualClock()
    monkeypatch.setattr("accelsim.measure.timing._clock", lambda device: manual)
    return manual


def test_samples_are_summed_up_by_median_and_quartiles():
    samples = Samples((4.0, 1.0, 2.0, 3.0, 100.0))
    assert samples.summary() == {"median": 3.0, "p25": 2.0, "p75": 4.0, "repeats": 5}
    assert samples.milliseconds == (4.0, 1.0, 2.0, 3.0, 100.0)


def test_one_sample_is_its_own_median():
    assert Samples((7.0,)).summary() == {"median": 7.0, "p25": 7.0, "p75": 7.0, "repeats": 1}


@pytest.mark.parametrize("bad", [(), (float("nan"),), (float("inf"),), (-1.0,)])
def test_no_times_or_impossible_times_are_refused(bad):
    with pytest.raises(ValueError, match="times"):
        Samples(bad)


def test_measure_forgets_the_warm_up(clock):
    durations = iter([50.0, 40.0, 1.0, 2.0, 3.0])
    samples = measure(lambda: clock.spend(next(durations)), repeats=3, warmup=2)
    assert samples.milliseconds == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(("repeats", "warmup"), [(0, 0), (1, -1)])
def test_measure_refuses_nothing_to_measure(repeats, warmup):
    with pytest.raises(ValueError, match="cannot time"):
        measure(lambda: None, repeats=repeats, warmup=warmup)


def test_measure_counts_milliseconds():
    median = measure(lambda: time.sleep(0.02), repeats=3, warmup=0).summary()["median"]
    assert 20 <= median < 200


def test_stages_of_a_repeat_add_up_to_its_total(clock):
    timer = StageTimer()
    for scale in (1, 2):
        with timer.repeat():
            with timer.stage("quantize"):
                clock.spend(1 * scale)
            clock.spend(1000)
            with timer.stage("gemm"):
                clock.spend(10 * scale)
    assert {name: samples.milliseconds for name, samples in timer.samples.items()} == {
        "quantize": (1, 2),
        "gemm": (10, 20),
        "total": (11, 22),
    }


def test_a_stage_entered_twice_adds_up_and_only_what_counts_is_in_the_total(clock):
    timer = StageTimer()
    with timer.repeat():
        with timer.stage("unpack"):
            clock.spend(3)
        with timer.stage("unpack", counted=False):
            clock.spend(5)
    assert timer.summary()["unpack"]["median"] == 8
    assert timer.summary()["total"]["median"] == 3


def test_warm_up_repeats_are_forgotten(clock):
    timer = StageTimer(warmup=2)
    for duration in (100, 50, 1, 2):
        with timer.repeat(), timer.stage("gemm"):
            clock.spend(duration)
    assert timer.samples["gemm"].milliseconds == (1, 2)


def test_a_repeat_that_raises_is_forgotten(clock):
    timer = StageTimer()

    def attempt(fails):
        with timer.repeat():
            with timer.stage("gemm"):
                clock.spend(1)
            with timer.stage("pack"):
                clock.spend(1)
                if fails:
                    raise RuntimeError("failed")

    with pytest.raises(RuntimeError, match="failed"):
        attempt(fails=True)
    attempt(fails=False)
    assert {name: len(samples.milliseconds) for name, samples in timer.samples.items()} == {
        "gemm": 1,
        "pack": 1,
        "total": 1,
    }


def test_no_garbage_is_collected_in_a_repeat_and_again_afterwards():
    timer = StageTimer()
    with timer.repeat():
        assert not gc.isenabled()
        with timer.stage("gemm"):
            pass
    assert gc.isenabled()
    with pytest.raises(ValueError, match="wrong"), timer.repeat():
        raise ValueError("wrong")
    assert gc.isenabled()
    gc.disable()
    try:
        with timer.repeat():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_misuse_is_noticed(clock):
    timer = StageTimer()
    with pytest.raises(RuntimeError, match="inside"), timer.stage("gemm"):
        pass
    with timer.repeat(), pytest.raises(ValueError, match="total"), timer.stage("total"):
        pass
    with timer.repeat(), pytest.raises(RuntimeError, match="already"), timer.repeat():
        pass


def test_the_clock_has_a_name():
    assert clock_source("cpu").startswith("time.perf_counter")
    assert clock_source(torch.device("cpu")) == clock_source("cpu")
    assert "CUDA events" in clock_source("cuda:0")


@pytest.mark.parametrize("call", [clock_source, StageTimer])
def test_a_device_without_a_timer_is_refused(call):
    with pytest.raises(ValueError, match="only cpu and cuda"):
        call("meta")


def test_a_repeat_that_was_timed_elsewhere_counts_as_any_other():
    timer = StageTimer("cpu", warmup=1)
    for milliseconds in (9.0, 1.0, 3.0):
        timer.add({"gemm": milliseconds, "total": 2 * milliseconds})
    assert timer.samples["gemm"].milliseconds == (1.0, 3.0)
    assert timer.summary()["total"]["median"] == 4.0


def test_functions_are_called_in_turn_each_first_as_often():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "xyz"}
    samples = measure_in_turns(functions, repeats=3, warmup=1, before=lambda: calls.append("-"))
    assert "".join(calls) == "xyz" + "-x-y-z" + "-y-z-x" + "-z-x-y"
    assert {name: len(times.milliseconds) for name, times in samples.items()} == dict.fromkeys(
        "xyz", 3
    )


def test_each_function_gets_its_own_times():
    samples = measure_in_turns(
        {"short": lambda: None, "long": lambda: time.sleep(0.02)}, repeats=4, warmup=0
    )
    assert min(samples["long"].milliseconds) >= 20
    assert samples["short"].summary()["median"] < 20


@pytest.mark.gpu
@needs_cuda
class TestCuda:
    @pytest.fixture
    def work(self):
        a = torch.randn(4096, 4096, device="cuda")
        return lambda: a @ a

    def test_measure_agrees_with_the_wall_clock(self, work):
        median = measure(work, repeats=20, warmup=5, device="cuda").summary()["median"]
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(20):
            work()
        torch.cuda.synchronize()
        wall = (time.perf_counter() - start) * 1000 / 20
        assert median == pytest.approx(wall, rel=0.2)

    def test_stages_are_timed_where_the_work_is_done(self, work):
        timer = StageTimer("cuda", warmup=3)
        for _ in range(10):
            with timer.repeat():
                with timer.stage("gemm"):
                    work()
                with timer.stage("pack"):
                    time.sleep(0.01)
        stages = timer.summary()
        alone = measure(work, repeats=10, warmup=3, device="cuda").summary()["median"]
        assert stages["gemm"]["median"] == pytest.approx(alone, rel=0.3)
        assert 0 <= stages["pack"]["median"] < 100
