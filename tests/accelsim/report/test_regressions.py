"""Two runs: a slower machine is not slower code, and slower code is found all the same."""

import numpy as np
import pytest

from accelsim.errors import InputError
from accelsim.report.regressions import find_regressions

TOLERANCE = 0.05


@pytest.fixture
def run(make_record):
    """Return a function that makes the records of a run with 12 GEMMs, all of it noisy by 1%."""

    def make(name, factors=(), machine=(), seed=0, baseline=True, repeats=12):
        rng = np.random.default_rng(seed)

        def repeated(mean):
            return (mean * rng.normal(1, 0.01, repeats)).tolist()

        records = []
        for index in range(12):
            slow = machine[index % len(machine)] if machine else 1.0
            own = factors[index % len(factors)] if factors else 1.0
            samples = repeated(4.0 * slow * own)
            floats = {"fp32": repeated(2.0 * slow)} if baseline else {}
            record = make_record(
                total_ms=float(np.median(samples)), gemm=f"g{index}",
                samples_ms={"total": samples},
                baselines={key: float(np.median(values)) for key, values in floats.items()},
                baseline_samples_ms=floats,
            )  # fmt: skip
            records.append({"run": name, **record.to_dict()})
        return records

    return make


def compare(old, new):
    return find_regressions([*old, *new], "old", "new", TOLERANCE)


def test_equal_code_on_an_equal_machine_passes(run):
    found = compare(run("old"), run("new", seed=1))
    assert not found.failed
    assert found.counts["same"] == 12
    assert 0.97 < found.drift.low < 1 < found.drift.high < 1.03


@pytest.mark.parametrize("slow", [1.6, 0.6])
def test_a_slow_or_fast_mode_of_the_machine_is_not_slower_code(run, slow):
    found = compare(run("old"), run("new", machine=[slow], seed=1))
    assert not found.failed
    assert found.drift.low < slow < found.drift.high


def test_slower_code_is_found_on_a_faster_machine(run):
    found = compare(run("old"), run("new", factors=[1.3, 1, 1, 1], machine=[0.6], seed=1))
    assert [change.record["gemm"] for change in found.changes if change.slower] == [
        "g0", "g4", "g8"
    ]  # fmt: skip
    assert found.failed


def test_modes_that_change_from_gemm_to_gemm_widen_the_drift(run):
    machine = [1.0, 1.5, 1.2]
    found = compare(run("old"), run("new", machine=machine, seed=1))
    assert not found.failed
    found = compare(run("old"), run("new", factors=[1, 1, 2.5], machine=machine, seed=1))
    assert found.counts["slower"] == 4


def test_modes_that_differ_by_more_than_a_factor_of_two_cannot_be_compared(run):
    """Equal code once read '8.6 times as long, p = 0.0011' on such a machine."""
    with pytest.raises(InputError, match="by the intervals of their times 12 float GEMMs"):
        compare(run("old"), run("new", machine=[1.0, 8.6], seed=1))


def test_drift_at_its_limit(run):
    """The intervals of the repeats count: 1.9 with 1% of noise is within a factor of two."""
    assert compare(run("old"), run("new", machine=[1.0, 1.9], seed=1)).drift.high < 2
    with pytest.raises(InputError, match="cannot be compared"):
        compare(run("old"), run("new", machine=[1.0, 2.05], seed=1))


class TestWithoutFloatGemms:
    def test_the_median_record_stands_for_the_machine(self, run):
        new = run("new", factors=[1.5, 1, 1, 1], seed=1, baseline=False)
        found = compare(run("old", baseline=False), new)
        assert found.counts["slower"] == 3
        assert "no float GEMM was timed in both runs" in found.lines()[-1]

    def test_if_most_are_slower_nothing_tells_code_from_machine(self, run):
        new = run("new", factors=[8.6], seed=1, baseline=False)
        with pytest.raises(InputError, match=r"took 8\.\d+ times as long, and no float GEMM"):
            compare(run("old", baseline=False), new)

    def test_nothing_slower_needs_no_float_gemm(self, run):
        new = run("new", factors=[0.9], seed=1, baseline=False)
        assert not compare(run("old", baseline=False), new).failed


def test_what_is_no_longer_exact_fails_even_where_times_cannot_be_compared(run, make_record):
    new = run("new", machine=[1.0, 8.6], seed=1)
    wrong = make_record(gemm="g3", status="inexact", exact=False, mismatches=1, max_abs_error=1)
    new[3] = {"run": "new", **wrong.to_dict()}
    found = compare(run("old"), new)
    assert found.failed
    assert found.counts["broken"] == 1
    assert found.drift is None


def test_many_lines_are_cut_and_counted(run):
    old = [record | {"beta": beta} for beta in (7, 15, 31) for record in run("old", seed=beta)]
    new = [
        record | {"beta": beta}
        for beta in (7, 15, 31)
        for record in run("new", factors=[2.0], seed=beta + 1)
    ]
    lines = compare(old, new).lines()
    assert "36 of 36 records slower by more than 5% and the drift" in lines[0]
    assert sum(line.startswith("  slower: ") for line in lines) == 20
    assert "  and 16 more, which accelsim report shows" in lines


def test_a_float_gemm_that_records_share_counts_once(run):
    old, new = run("old"), run("new", seed=1)
    doubled = [record | {"beta": beta} for beta in (15, 31) for record in (*old, *new)]
    found = find_regressions(doubled, "old", "new", TOLERANCE)
    assert found.drift.count == 12
