"""How values read."""

import pytest

from accelsim.report.cells import column, count, milliseconds, number, printable, text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (1.0, "1.000"),
        (1.23456, "1.235"),
        (-12.3456, "-12.35"),
        (123456.789, "123,457"),
        (0.000123456, "0.0001235"),
        (0.0000123, "1.230e-05"),
        (1.5e12, "1.500e+12"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_have_four_digits(value, expected):
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00k"),
        (9_994, "9.99k"),
        (9_996, "10.0k"),
        (99_960, "100k"),
        (999_499, "999k"),
        (999_600, "1.00M"),
        (84_934_656, "84.9M"),
        (2**40, "1.10T"),
        (10**30, "1.00e+30"),
    ],
)
def test_counts_have_three_digits_and_a_prefix(value, expected):
    assert count(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0004, "0.000"), (0.0123, "0.012"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1234")],
)
def test_times_resolve_a_microsecond_where_it_matters(value, expected):
    assert milliseconds(value) == expected


def test_a_column_of_whole_numbers_has_no_decimals():
    assert column([31.0, 15, None, 1234567.0]) == ["31", "15", "–", "1,234,567"]
    assert column([31.0, 15.5]) == ["31.00", "15.50"]


def test_truth_reads_as_yes_and_no():
    assert column([True, False, None]) == ["yes", "no", "–"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 8, "b": 4}, "8/4"),
        ({"a": 31.0, "b": 15.5}, "31/15.5"),
        ({"bits": 24, "overflow": "wrap"}, "bits=24 overflow=wrap"),
        ({}, ""),
        (95.0, "95"),
        (True, "true"),
        (None, "null"),
        ([1, "ü"], '[1, "ü"]'),
        ("plain", "plain"),
    ],
)
def test_settings_read_as_words(value, expected):
    assert text(value) == expected


def test_control_characters_are_made_visible():
    assert printable("a\nb\x1b[31mc\u2028dü") == "a\\nb\\x1b[31mc\\u2028dü"
