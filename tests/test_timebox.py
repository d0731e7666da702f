"""The search that ends after a time: that it tries, tells and fails."""

import pytest
from hypothesis import assume
from hypothesis import strategies as st
from timebox import BATCH, search


def test_it_tries_batch_after_batch_and_says_how_many():
    tried, lines = [], []
    cases = st.integers(0, 10**9)
    count = search(cases, tried.append, 1.0, lines.append)
    assert count == len(tried) > BATCH
    assert lines[-1].startswith(f"{count:,} examples in ")


def test_what_is_no_example_is_not_counted():
    tried = []

    def check(case):
        assume(case % 2)
        tried.append(case)

    assert search(st.integers(0, 10**9), check, 0.2, print) == len(tried) > 0


def test_a_failure_ends_it_with_the_smallest_case():
    tried = []

    def check(case):
        tried.append(case)
        assert case < 1000

    with pytest.raises(AssertionError):
        search(st.integers(0, 10**9), check, 60, print)
    assert tried[-1] == 1000


def test_nothing_is_tried_after_the_time():
    tried = []
    assert search(st.integers(), tried.append, 0.0, print) == 0 == len(tried)
