"""The kit itself: it passes what is right and catches every backend that is wrong on purpose."""

import itertools
import math
import sys
import time

import pytest
import torch
from faulty import (
    FAULTY,
    Aligned,
    ChangesItsInputForAWhile,
    Correct,
    EndsTheProcess,
    Float32,
    IgnoresTheMostNegativeDigit,
    KeepsEveryOperand,
    KeepsEveryResult,
    Lanes,
    NarrowerThanClaimed,
    OffByOneAtTileEdges,
    OnlyInTheThreadThatMadeIt,
    Saturating,
    SkipsRowsOfZeros,
    Sparse,
    UninitialisedForEmptyK,
    UnsignedA,
    WrapsOrSaturatesAsTheShapeWants,
    WrongBatchOrder,
    WrongBeyond16BitK,
    WrongInARangeOfK,
    exact,
)

from accelsim.plugins.extras import how_to_install
from gemm_backends import (
    Accumulator,
    Availability,
    GemmBackend,
    list_backends,
    load_backend,
)
from gemm_backends.conformance import (
    CHECKS,
    BackendConformance,
    claims,
    large,
    operands,
    routes,
    running,
    verify,
)
from gemm_backends.conformance.causes import followers
from gemm_backends.conformance.check import CheckFailed
from gemm_backends.conformance.subject import Subject
from gemm_backends.conformance.verification import run_check
from gemm_backends.emulator.backend import Emulator

BY_NAME = {check.name: check for check in CHECKS}


@pytest.mark.parametrize("backend", FAULTY, ids=lambda backend: backend.__name__)
def test_a_faulty_backend_fails_the_check_meant_for_it(backend, monkeypatch):
    double = backend()
    monkeypatch.setattr(running, "perf_counter", getattr(double, "clock", time.perf_counter))
    for module, limit in (
        *((running, "MANY_SECONDS"), (operands, "SECONDS"), (claims, "SECONDS")),
        *((large, "SECONDS"), (large, "ALL_SECONDS")),
    ):
        monkeypatch.setattr(module, limit, math.inf)  # a busy machine checks as much as an idle one
    outcome = run_check(BY_NAME[FAULTY[backend]], Subject(double))
    assert outcome.status == "failed", outcome
    assert outcome.detail


SMALLER = ((64, 64, 64), (16, 2048, 16))
"""Shapes with a sixteenth of the products, for simulated circuits; a leak shows as well."""


@pytest.mark.parametrize("shapes", [running.LARGE, SMALLER])
@pytest.mark.parametrize("blind", ["_allocated", "_resident"])
@pytest.mark.parametrize("backend", [KeepsEveryResult, KeepsEveryOperand])
def test_a_leak_is_seen_by_either_measure_of_memory(backend, blind, shapes, monkeypatch):
    monkeypatch.setattr(running, "LARGE", shapes)
    monkeypatch.setattr(running, "MANY_SECONDS", 0)  # as slow as a simulation
    shrinking = itertools.count(2**40, -(2**30))
    monkeypatch.setattr(running, blind, lambda: next(shrinking))
    assert run_check(BY_NAME["memory"], Subject(backend())).status == "failed"


def test_every_check_has_a_faulty_backend():
    of_routes = {check.name for check in routes.CHECKS}
    assert set(FAULTY.values()) == set(BY_NAME) - of_routes


@pytest.mark.parametrize("double", [Correct, Saturating, Aligned, UnsignedA])
def test_what_the_faulty_ones_are_made_of_is_right(double):
    outcomes = list(verify(double()))
    assert [outcome for outcome in outcomes if outcome.status == "failed"] == []
    assert sum(outcome.status == "passed" for outcome in outcomes) >= 25


class Native(Correct):
    """Claims to be native; the tests say how long each of its products and float32's takes."""

    def availability(self):
        return Availability(True, execution="native")

    def matmul(self, a, b):
        return torch.from_numpy(a.numpy().astype("int32") @ b.numpy().astype("int32").T)


FLOAT32 = [9, *range(100, 110)]
"""Times that differ; the first, which does not count, is lower than any."""


@pytest.mark.parametrize(
    ("mine", "status", "found"),
    [
        ([900, *range(60, 70)], "passed", "1024^3 takes 60 to 69 ms, 100 to 109 ms in float32"),
        ([1, *range(90, 99), 5000], "passed", "90 to 5e+03 ms"),
        ([1, 108, *range(200, 209)], "skipped", "not decided, the times overlap: 1024^3 takes 108"),
        ([1, *range(110, 120)], "failed", "it counts as emulated or a fallback"),
    ],
)
def test_a_native_backend_fails_only_if_always_slower_than_float32(
    monkeypatch, mine, status, found
):
    times = itertools.chain.from_iterable(zip(mine, FLOAT32, strict=True))
    monkeypatch.setattr(running, "_seconds", lambda call: next(times) / 1e3)
    outcome = run_check(BY_NAME["execution"], Subject(Native()))
    assert outcome.status == status, outcome
    assert found in outcome.detail


def test_memory_that_is_taken_once_is_no_leak(monkeypatch):
    held = itertools.chain([0, 1 << 30], itertools.repeat(1 << 30))
    monkeypatch.setattr(running, "_memory", lambda device: (next(held),))
    assert run_check(BY_NAME["memory"], Subject(Correct())).status == "passed"


def test_a_right_sparse_product_passes():
    assert run_check(BY_NAME["sparse_product"], Subject(Sparse())).status == "passed"


@pytest.mark.parametrize("backend", [Lanes(), Emulator(bits=4, array=[8, 8], correction_lanes=8)])
def test_right_correction_lanes_pass(backend):
    outcome = run_check(BY_NAME["corrected_product"], Subject(backend))
    assert (outcome.status, outcome.detail[:8]) == ("passed", "4 shapes")


def test_nothing_is_asked_of_an_overflow_that_is_undefined():
    class Undefined(WrapsOrSaturatesAsTheShapeWants):
        accumulator = Accumulator(32, "undefined")

    subject = Subject(Undefined())
    assert run_check(BY_NAME["accumulator_bound"], subject).status == "passed"
    for name in ("accumulator_overflow", "accumulator_partial_sums"):
        outcome = run_check(BY_NAME[name], subject)
        assert outcome.status == "skipped"
        assert "claims nothing" in outcome.detail


class Clips(Correct):
    """Its result passes a limiter that is no register's."""

    def matmul(self, a, b):
        return exact(a, b).clamp(-20_000_000, 20_000_000).int()


class DropsTheTailOfAnOddK(Correct):
    """Forgets the last tile of K where K is odd and longer than a tile, little of a long sum."""

    def matmul(self, a, b):
        d = a.shape[1]
        kept = d - d % 32 if d > 32 and d % 2 else d
        return super().matmul(a[:, :kept], b[:, :kept])


class OffByAFewInLongSums(Correct):
    """Adds an integer that is tiny beside the sum, as a float's rounding would be."""

    def matmul(self, a, b):
        return super().matmul(a, b) + 2 * (a.shape[1] > 100_000)


class KeepsACorrectionOfOtherOperands(Correct):
    """Truncates the sum of a long column of large digits, by which it corrects for an offset."""

    def matmul(self, a, b):
        few = b[:, ::100_000] if b.shape[1] > 100_000 else b[:, :0]
        return super().matmul(a, b) + 128 * (few.int() // 64).sum(1, dtype=torch.int32)


class SaturatesOnTheWay(Correct):
    """Saturates where a long sum begins from a correction that is larger than itself."""

    def matmul(self, a, b):
        end = self.accumulator.maximum
        product = super().matmul(a, b)
        return torch.where(product > end - (1 << 20), end, product)


class WrongOnce(Correct):
    """Loses an update in one product, the seventh or the first after it that is not empty."""

    def __init__(self):
        self.calls, self.lost = 0, False

    def matmul(self, a, b):
        self.calls += 1
        product = super().matmul(a, b)
        if self.calls >= 7 and product.numel() and not self.lost:
            self.lost = True
            product[0, 0] -= 1
        return product


@pytest.mark.parametrize(
    ("double", "check", "explanation"),
    [
        (NarrowerThanClaimed, "accumulator_bound", "it behaves as a 24-bit accumulator that wraps"),
        (Float32, "accumulator_bound", "it rounds as float32 does"),
        (OffByAFewInLongSums, "accumulator_bound", "131071 products of 1 give 131073, too"),
        (KeepsACorrectionOfOtherOperands, "accumulator_bound", "products of 1 are right, and no"),
        (SaturatesOnTheWay, "accumulator_bound", "it saturates on the way to a sum that fits"),
        (DropsTheTailOfAnOddK, "accumulator_bound", "31 of the 131071 products are missing, large"),
        (Clips, "accumulator_bound", "131071 products of 1 are right, and no narrower accumulator"),
        (WrongBeyond16BitK, "accumulator_bound", "65536 of the 131071 products are missing"),
        (OffByOneAtTileEdges, "tile_edges", "the smallest that is wrong: [33, 1] x [1, 1]: "),
        (WrongBeyond16BitK, "long_sums", "the smallest that is wrong: [1, 65537] x [1, 65537]: "),
        (IgnoresTheMostNegativeDigit, "extreme_digits", "A = [[-128]], B = [[1]]: "),
        (OnlyInTheThreadThatMadeIt, "threads", "(faulty.py:"),
        (WrongInARangeOfK, "long_sums", "the smallest that is wrong: [1, 3000] x [1, 3000]: "),
        (ChangesItsInputForAWhile, "inputs_unmodified", "changed B (random digits) and restored"),
        (EndsTheProcess, "small_shapes", "raised SystemExit: no licence (faulty.py:"),
        (UninitialisedForEmptyK, "empty_dimensions", "is wrong: [1, 0] x [1, 0]: 1 of 1"),
        (WrongOnce, "random_gemms", "was wrong, and right when it was repeated"),
    ],
)
def test_a_failure_is_explained(double, check, explanation):
    outcome = run_check(BY_NAME[check], Subject(double()))
    assert outcome.status == "failed"
    assert explanation in outcome.detail


QUICK = ("small_shapes", "extreme_digits", "accumulator_bound", "accumulator_overflow", "batches")


class Raises(Correct):
    def matmul(self, a, b):
        raise RuntimeError("no kernel")


@pytest.mark.parametrize(
    ("double", "following"),
    [
        (Correct, {}),
        (WrongBatchOrder, {}),
        (
            NarrowerThanClaimed,
            {"extreme_digits": None, "accumulator_overflow": "accumulator_bound"},
        ),
        (Raises, dict.fromkeys(QUICK[1:], "small_shapes")),
    ],
)
def test_failures_that_may_follow_from_another_are_told_from_roots(double, following):
    outcomes = [run_check(BY_NAME[name], Subject(double())) for name in QUICK]
    wanted = {name: root for name, root in following.items() if root}
    assert followers(outcomes) == wanted


def test_a_wrong_product_says_nothing_about_the_accumulator():
    """The sum of wrong products would look like that of some register."""
    double = IgnoresTheMostNegativeDigit()
    outcomes = [run_check(BY_NAME[name], Subject(double)) for name in QUICK]
    bound = outcomes[QUICK.index("accumulator_bound")]
    assert "behaves as" not in bound.detail
    assert "cannot be told, as the product of two digits is wrong already: -128 · " in bound.detail
    assert followers(outcomes)["accumulator_bound"] in ("small_shapes", "extreme_digits")
    assert "accumulator_bound" not in followers(outcomes).values()


def test_the_root_of_missing_products_is_the_check_with_the_simplest_shape():
    names = ("small_shapes", "odd_shapes", "tile_edges", "accumulator_bound")
    outcomes = [run_check(BY_NAME[name], Subject(DropsTheTailOfAnOddK())) for name in names[::-1]]
    assert followers(outcomes)["accumulator_bound"] in ("odd_shapes", "tile_edges")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("name", list_backends())
def test_every_installed_backend_passes(name, check, monkeypatch):
    if name == "rtl-systolic":
        monkeypatch.setattr(running, "LARGE", SMALLER)
    backend = load_backend(name)
    availability = backend.status()
    if not availability.available:
        pytest.skip(availability.reason)
    outcome = run_check(check, Subject(backend))
    assert outcome.status in ("passed", "skipped"), outcome.detail


class TestEmulatorOf4BitsThatSaturates(BackendConformance):
    def make_backend(self):
        return load_backend("emulator", bits=4, accumulator_bits=20, overflow="saturate")


@pytest.mark.slow
class TestEmulatorOf8By3BitsThatRaises(BackendConformance):
    def make_backend(self):
        return load_backend("emulator", bits=(8, 3), accumulator_bits=18, overflow="error")


@pytest.mark.slow
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
    assert how_to_install("test") in outcome.detail


def test_the_traceback_of_a_failure_is_offered():
    seen = []
    run_check(BY_NAME["batches"], Subject(WrongBatchOrder()), on_error=seen.append)
    assert [type(error) for error in seen] == [CheckFailed]


def test_checks_do_not_depend_on_the_seed_of_the_process():
    (a, _), (b, _) = (Subject(Correct()).random(3, 4, 5) for _ in range(2))
    assert a.equal(b)


def test_a_backend_that_says_nothing_about_being_native_is_told_so():
    class Silent(Native):
        availability = GemmBackend.availability

    class Emulated(Native):
        def availability(self):
            return Availability(True, execution="emulated")

    for backend, said in ((Silent, "says nothing about being native"), (Emulated, "claims to be")):
        outcome = run_check(BY_NAME["execution"], Subject(backend()))
        assert (outcome.status, said in outcome.detail) == ("skipped", True)
