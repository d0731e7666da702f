"""When there are enough repeats, and what is done before each."""

import math
import time

import pytest
import torch

from accelsim.measure.sampling import (
    MOST_REPEATS,
    RepeatPlan,
    cache_bytes,
    evictor,
    load_per_core,
    with_head_start,
)
from accelsim.measure.timing import StageTimer, measure

CPU = torch.device("cpu")


def test_a_fixed_number_is_a_fixed_number():
    plan = RepeatPlan(warmup=0, repeats=5)
    assert not plan.enough([1.0] * 4, seconds=1e6)
    assert plan.enough([1.0, 9.0, 5.0, 100.0, 2.0], seconds=0)


def test_a_target_goes_on_until_the_median_is_certain():
    plan = RepeatPlan(warmup=0, repeats=5, target_error=0.05, budget_s=10)
    spread = [10.0, 11.0, 9.0, 10.5, 9.5]
    assert not plan.enough(spread, seconds=1)
    assert plan.enough([10.0 + 0.01 * (i % 7) for i in range(40)], seconds=1)


def test_a_target_takes_as_many_as_an_interval():
    plan = RepeatPlan(warmup=0, repeats=1, target_error=0.05, budget_s=10)
    assert not plan.enough([1.0] * 5, seconds=1)
    assert plan.enough([1.0] * 6, seconds=1)


def test_a_budget_or_the_limit_ends_it_uncertain_as_it_is():
    plan = RepeatPlan(warmup=0, repeats=2, target_error=0.001, budget_s=10)
    assert plan.enough([1.0, 9.0], seconds=10)
    assert plan.enough([1.0, 9.0] * (MOST_REPEATS // 2), seconds=1)
    assert not plan.enough([1.0], seconds=99), "the least number is always reached"


def test_a_function_is_sampled_until_the_target():
    durations = iter([0.001] * 3 + [0.02, 0.001] * 4 + [0.001] * 500)
    plan = RepeatPlan(warmup=0, repeats=6, target_error=0.2, budget_s=5)
    times = plan.sample(lambda: time.sleep(next(durations)), CPU).milliseconds
    assert len(times) > 6
    assert max(times) >= 20, "an outlier is kept"


def test_a_cold_cache_is_made_before_each_repeat_and_not_timed():
    calls = []
    samples = measure(
        lambda: calls.append("work"), 2, 1, before=lambda: (calls.append("evict"), time.sleep(0.05))
    )
    assert calls == ["work", "evict", "work", "evict", "work"]
    assert max(samples.milliseconds) < 50


def test_the_host_gets_a_head_start_on_a_gpu_after_what_comes_before(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: calls.append("sleep"))
    assert with_head_start(None, CPU) is None
    ahead = with_head_start(lambda: calls.append("evict"), torch.device("cuda"))
    ahead()
    assert calls == ["evict", "sleep"]


def test_the_evictor_writes_more_than_the_cache_holds():
    evictor(CPU)()
    assert cache_bytes(CPU) >= 2**16
    assert load_per_core() >= 0


@pytest.mark.slow
def test_a_cold_read_of_a_cached_operand_takes_longer_than_a_warm_one():
    small = torch.ones(cache_bytes(CPU) // 8, dtype=torch.int8)
    warm = RepeatPlan(warmup=3, repeats=31).sample(small.max, CPU).summary()["median"]
    cold = RepeatPlan(warmup=3, repeats=31, cache="cold").sample(small.max, CPU).summary()["median"]
    assert cold > warm


def spin(milliseconds):
    end = time.perf_counter() + milliseconds / 1e3
    while time.perf_counter() < end:
        pass


@pytest.mark.slow
def test_both_timers_agree_with_torch_utils_benchmark_on_work_of_known_length():
    from torch.utils.benchmark import Timer

    # The shortest of several: a busy machine only lengthens, and all the more the busier it is.
    timer = Timer("spin(4)", globals={"spin": spin})
    stages, theirs, ours = StageTimer("cpu", warmup=1), math.inf, math.inf
    for _ in range(40):
        theirs = min(theirs, *(timer.timeit(1).mean * 1e3 for _ in range(5)))
        ours = min(ours, *measure(lambda: spin(4), 5, 1).milliseconds)
        for _ in range(6):
            with stages.repeat(), stages.stage("gemm"):
                spin(4)
        found = [ours, min(stages.samples["gemm"].milliseconds)]
        if found == pytest.approx([theirs, theirs], rel=0.05):
            break
    assert found == pytest.approx([theirs, theirs], rel=0.05)


@pytest.mark.slow
def test_measure_agrees_with_torch_utils_benchmark_on_a_gemm():
    from torch.utils.benchmark import Timer

    a = torch.randn(768, 768)
    threads = torch.get_num_threads()
    timer = Timer("a @ a", globals={"a": a}, num_threads=threads)
    ratios = []
    for _ in range(7):  # interleaved, so that both see the same machine
        theirs = timer.blocked_autorange(min_run_time=0.2).median * 1e3
        ratios.append(measure(lambda: a @ a, 30, 3).summary()["median"] / theirs)
    assert sorted(ratios)[3] == pytest.approx(1, rel=0.15), ratios
