"""The kit itself: it passes what is right and catches every backend that is wrong on purpose."""

import sys

import pytest
from faulty import (
    FAULTY,
    Correct,
    Saturating,
    SkipsRowsOfZeros,
    WrapsOrSaturatesAsTheShapeWants,
    WrongBatchOrder,
)

from gemm_backends import Accumulator, Availability, load_backend
from gemm_backends.conformance import CHECKS, BackendConformance, verify
from gemm_backends.conformance.check import CheckFailed
from gemm_backends.conformance.subject import Subject
from gemm_backends.conformance.verification import run_check

BY_NAME = {check.name: check for check in CHECKS}


@pytest.mark.parametrize("backend", FAULTY, ids=lambda backend: backend.__name__)
def test_a_faulty_backend_fails_the_check_meant_for_it(backend):
    outcome = run_check(BY_NAME[FAULTY[backend]], Subject(backend()))
    assert outcome.status == "failed", outcome
    assert outcome.detail


def test_every_check_has_a_faulty_backend():
    assert set(FAULTY.values()) == set(BY_NAME)


@pytest.mark.parametrize("double", [Correct, Saturating])
def test_what_the_faulty_ones_are_made_of_is_right(double):
    failed = [outcome for outcome in verify(double()) if outcome.status == "failed"]
    assert failed == []


def test_nothing_is_asked_of_an_overflow_that_is_undefined():
    class Undefined(WrapsOrSaturatesAsTheShapeWants):
        accumulator = Accumulator(32, "undefined")

    outcomes = {outcome.name: outcome for outcome in verify(Undefined())}
    assert [name for name, outcome in outcomes.items() if outcome.status == "failed"] == []
    assert outcomes["accumulator_bound"].status == "passed"
    assert "claims nothing" in outcomes["accumulator_overflow"].detail


class TestInt64(BackendConformance):
    def make_backend(self):
        return load_backend("int64")


class TestCpuInt8(BackendConformance):
    def make_backend(self):
        return load_backend("cpu-int8")


class TestEmulator(BackendConformance):
    def make_backend(self):
        return load_backend("emulator")


class TestEmulatorOf4BitsThatSaturates(BackendConformance):
    def make_backend(self):
        return load_backend("emulator", bits=4, accumulator_bits=20, overflow="saturate")


class TestEmulatorOf8By3BitsThatRaises(BackendConformance):
    def make_backend(self):
        return load_backend("emulator", bits=(8, 3), accumulator_bits=18, overflow="error")


class TestEmulatorOf2BitsThatWraps(BackendConformance):
    def make_backend(self):
        return load_backend("emulator", bits=2, accumulator_bits=8)


class WithBackend(BackendConformance):
    """A suite as an author writes it, run by hand."""

    def __init__(self, backend):
        self.make_backend = backend


def test_the_suite_fails_as_a_test():
    suite = WithBackend(WrongBatchOrder)
    with pytest.raises(CheckFailed, match=r"batch \[2, 3\]|batch \[3\]"):
        suite.test_batches()
    suite.test_strides()


def test_the_suite_skips_what_does_not_apply():
    with pytest.raises(pytest.skip.Exception, match="no cost model"):
        WithBackend(Correct).test_cost()


def test_the_suite_skips_an_unavailable_backend_with_its_reason():
    class Elsewhere(Correct):
        def availability(self):
            return Availability(False, "there is no such chip here")

    with pytest.raises(pytest.skip.Exception, match="double is unavailable: there is no such chip"):
        WithBackend(Elsewhere).test_batches()


def test_the_suite_wants_a_backend():
    with pytest.raises(NotImplementedError, match="BackendConformance must define make_backend"):
        BackendConformance().test_batches()


def test_hypothesis_shrinks_a_failure_to_the_smallest_gemm():
    outcome = run_check(BY_NAME["random_gemms"], Subject(SkipsRowsOfZeros()))
    assert outcome.detail.startswith("A = [[0]], B = [[0]]: 1 of 1 entries differ")


def test_without_hypothesis_fixed_shapes_are_tried(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    outcome = run_check(BY_NAME["random_gemms"], Subject(Correct()))
    assert outcome.status == "passed"
    assert "pip install 'accelsim[test]'" in outcome.detail


def test_the_traceback_of_a_failure_is_offered():
    seen = []
    run_check(BY_NAME["batches"], Subject(WrongBatchOrder()), on_error=seen.append)
    assert [type(error) for error in seen] == [CheckFailed]


def test_checks_do_not_depend_on_the_seed_of_the_process():
    (a, _), (b, _) = (Subject(Correct()).random(3, 4, 5) for _ in range(2))
    assert a.equal(b)
