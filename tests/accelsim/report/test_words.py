"""What is said about the names of strategies, ops and phases."""

import pytest
from click.testing import CliRunner

from accelsim import cli
from accelsim.report.words import (
    explain_choices,
    explain_gemms,
    explain_rounding,
    explain_strategies,
)
from accelsim.types import FUSED
from accelsim.unpack.loading import list_strategies


@pytest.mark.parametrize("strategy", [*list_strategies(), FUSED])
def test_every_shipped_strategy_is_explained(make_record, strategy):
    assert explain_strategies([make_record(strategy=strategy)])


def test_a_strategy_of_another_package_is_left_to_it(make_record):
    assert explain_strategies([make_record(strategy="my.py:Rows")]) == {}


@pytest.mark.parametrize(
    ("strategy", "chosen", "explained"),
    [
        ("mix", "row/column", True),
        ("mix", "both/both (2 heads), column/row (1 heads)", True),
        ("best", "block", False),
        ("row/column", "row/column", False),
        ("block", None, False),
    ],
)
def test_a_choice_is_explained_where_a_pair_was_chosen(make_record, strategy, chosen, explained):
    record = make_record(strategy=strategy, strategy_chosen=chosen)
    assert bool(explain_choices([record])) == explained


def test_names_of_gradients_are_explained_where_there_are_some(make_record):
    assert explain_gemms([make_record()]) == {}
    found = explain_gemms([make_record(op="qk", phase="grad_weight")])
    assert list(found) == ["qk", "grad_weight"]
    assert ".dk" in found["grad_weight"]


def test_a_list_of_gemms_explains_them_below():
    listed = CliRunner().invoke(cli.cli, ["workloads", "list", "smollm2"])
    assert listed.exit_code == 0
    rows, _, terms = listed.stdout.partition("\n\n")
    assert "smollm2.qk.dq" in rows
    assert [line.split()[0] for line in terms.splitlines()] == ["qk", "pv", "grad_input"]


def test_beta_is_explained_by_the_percentile_that_all_share(make_record):
    def said(*percentiles):
        return explain_rounding([make_record(percentile=value) for value in percentiles])["β"]

    assert said(95.0, 95.0).startswith("rounding maps percentile 95 of the magnitudes to β/2")
    assert said(95.0, 99.0).startswith("rounding maps the percentile of the magnitudes to β/2")
    assert said().startswith("rounding maps the percentile of the magnitudes")
