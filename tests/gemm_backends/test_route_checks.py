"""The kit's checks of fused routes: they pass what is right and catch what is wrong on purpose."""

import pytest
import torch
from faulty import Correct
from faulty_routes import (
    FAULTY_ROUTES,
    Exact,
    IntegersAlone,
    KeepsTheOldFloats,
    PlansByTheCapture,
    RaisesForGood,
    Refusing,
    SaysLater,
    SaysNothing,
    offered_by,
)

from accelsim.types import PerOperand
from gemm_backends import Rounding
from gemm_backends.conformance import CHECKS, routes
from gemm_backends.conformance.routes import graphs
from gemm_backends.conformance.routes.reference import (
    ReferenceProduct,
    Rounded,
    not_rounded_once,
    rounded,
)
from gemm_backends.conformance.subject import Subject
from gemm_backends.conformance.verification import run_check

BY_NAME = {check.name: check for check in routes.CHECKS}
ELSEWHERE = {"route_graphs"}
"""The check of graphs, which a GPU has, has its own test."""


@pytest.mark.parametrize("route", FAULTY_ROUTES, ids=lambda route: route.__name__)
def test_a_faulty_route_fails_the_check_meant_for_it(route):
    outcome = run_check(BY_NAME[FAULTY_ROUTES[route]], Subject(offered_by(route)))
    assert outcome.status == "failed", outcome
    assert outcome.detail


@pytest.mark.parametrize("check", routes.CHECKS, ids=lambda check: check.name)
def test_what_the_faulty_ones_are_made_of_is_right(check):
    outcome = run_check(check, Subject(offered_by(Exact)))
    assert outcome.status == ("skipped" if check.name in ELSEWHERE else "passed"), outcome


def test_every_check_has_a_faulty_route():
    assert set(FAULTY_ROUTES.values()) == set(BY_NAME) - ELSEWHERE
    assert set(BY_NAME) <= {check.name for check in CHECKS}


@pytest.mark.parametrize("check", routes.CHECKS, ids=lambda check: check.name)
def test_a_backend_without_a_route_is_skipped_with_its_reason(check):
    outcome = run_check(check, Subject(Correct()))
    assert (outcome.status, outcome.detail) == ("skipped", "backend 'double' has no fused route")


def test_a_route_may_refuse_kinds_of_requests():
    outcome = run_check(BY_NAME["route_requests"], Subject(Refusing()))
    assert outcome.status == "passed"
    assert outcome.detail == "3 requests; 21 refused"
    for name in ("route_new_values", "route_prepared", "route_strides", "route_counts"):
        assert run_check(BY_NAME[name], Subject(IntegersAlone())).status == "passed"
    outcome = run_check(BY_NAME["route_prepared"], Subject(Refusing()))
    assert (outcome.status, outcome.detail) == ("skipped", "takes float32 alone")


@pytest.mark.parametrize(
    ("route", "check", "explanation"),
    [
        ("RoundsTwice", "route_output", "the quotient is -1077936129/65536"),
        ("IgnoresNaN", "route_errors", "nan in the middle of A: neither run() nor check() raised"),
        ("NamesNoOperand", "route_errors", "the error does not name 'the hidden states': A holds"),
        ("KeepsAStaleWeight", "route_prepared", "B was overwritten and prepared again: the intege"),
        ("ReturnsItsOwnMemory", "route_results", "the output of the first run changed in the seco"),
        ("SaysPreparedWithoutIt", "route_counts", "prepared is ('a', 'b'), and [] came prepared"),
        ("NoRoute", "route_requests", "which is not a route: it lacks integers"),
    ],
)
def test_a_failure_is_explained(route, check, explanation):
    by_name = {faulty.__name__: faulty for faulty in FAULTY_ROUTES}
    outcome = run_check(BY_NAME[check], Subject(offered_by(by_name[route])))
    assert explanation in outcome.detail


ONE = torch.tensor(1.0)


@pytest.mark.parametrize(
    ("dtype", "bits"), [(torch.bfloat16, 8), (torch.float16, 11), (torch.float32, 24)]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_ties_go_to_even_and_what_is_beside_them_to_the_nearest(dtype, bits, sign):
    step = 4  # of floats from 2**(bits + 1) on
    base = 2 ** (bits + 1)
    integers = sign * torch.tensor([[base + 1, base + 2, base + 3, base + 5, base + 6, base + 7]])
    right = sign * torch.tensor([[base, base, base + 4, base + 4, base + 8, base + 8]])
    expected = ReferenceProduct(PerOperand.both(Rounded(integers, ONE)), integers)
    assert not not_rounded_once(right.to(dtype), expected).any()
    for wrong in (right + step, right - step, -right):
        assert not_rounded_once(wrong.to(dtype), expected).all()


def test_the_ends_of_float16():
    integers = torch.tensor([[65519, 65520, 65521, -65520, 0, 1]])
    expected = ReferenceProduct(PerOperand.both(Rounded(integers, ONE)), integers)
    right = [[65504, torch.inf, torch.inf, -torch.inf, 0, 1]]
    wrong = [[torch.inf, 65504, 65504, torch.inf, 6e-8, torch.nan]]
    assert not not_rounded_once(torch.tensor(right, dtype=torch.float16), expected).any()
    assert not_rounded_once(torch.tensor(wrong, dtype=torch.float16), expected).all()


@pytest.mark.parametrize(
    ("percentile", "alpha"), [(100, 40), (97.5, 40), (95, 39), (94.9, 39), (92.5, 38), (0.1, 2)]
)
def test_the_percentile_is_the_kth_largest_by_exact_arithmetic(percentile, alpha):
    x = torch.arange(1.0, 41.0) * (-1) ** torch.arange(40)
    assert float(rounded(x[None], Rounding(percentile, 2 * alpha)).scale) == 1.0


def test_rounding_is_to_even_and_zeros_have_scale_1():
    x = torch.tensor([[0.5, 1.5, -2.5, 4.0], [0.0, 0.0, 0.0, 0.0]])
    by_row = rounded(x, Rounding(100, 8, "row"))
    assert by_row.integers.tolist() == [[0, 2, -2, 4], [0, 0, 0, 0]]
    assert by_row.scale.tolist() == [[1.0], [1.0]]
    few = rounded(x, Rounding(50, 8, "tensor", "nonzero"))
    assert few.scale == torch.tensor(8 / (2 * 0.5))


def replayed_on_the_cpu(run):
    """Stand in for a CUDA graph: what was captured is run again, into the same output."""
    output = run()
    return output, lambda: output.copy_(run())


@pytest.mark.parametrize(
    ("route", "status", "found"),
    [
        (SaysLater, "passed", "96 replays exact, 12 NaN and raised"),
        (SaysNothing, "failed", "NaN at (0, 0) of A, in a CUDA graph: check() did not raise"),
        (KeepsTheOldFloats, "failed", "check() raised, and not all floats are NaN"),
        (RaisesForGood, "failed", "check() raises for good after NaN"),
        (PlansByTheCapture, "failed", "floats are not the exact quotient rounded once"),
        (Exact, "failed", "raised DataError: the hidden states holds NaN"),
    ],
)
def test_graphs(route, status, found, monkeypatch):
    monkeypatch.setitem(graphs.CAPTURES, "cpu", replayed_on_the_cpu)
    outcome = run_check(BY_NAME["route_graphs"], Subject(offered_by(route)))
    assert outcome.status == status, outcome
    assert found in outcome.detail
