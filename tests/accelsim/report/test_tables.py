"""Rows as table, csv, json and markdown."""

import csv
import io
import json

import pytest

from accelsim.errors import InputError
from accelsim.report.tables import render

ROWS = [
    {"gemm": "q", "macs": 12345678901234567890, "time_ms": {"total": 1.23456}, "exact": True},
    {"gemm": "k|v\n", "macs": 7, "time_ms": {"total": None}, "exact": False, "note": 'a,"b"'},
]


class FakeTerminal(io.StringIO):
    def isatty(self):
        return True


def test_a_table_aligns_numbers_to_the_right():
    assert render(ROWS, title="Two GEMMs") == (
        "Two GEMMs\n"
        "\n"
        "gemm                         macs  time_ms.total  exact  note\n"
        "──────────────────────────────────────────────────────────────\n"
        "q      12,345,678,901,234,567,890          1.235  yes    –\n"
        'k|v\\n                           7              –  no     a,"b"\n'
    )


def test_the_words_of_a_header_stand_below_each_other():
    lines = render([{"run a": 1.5}]).splitlines()
    assert [line.strip() for line in lines[:2]] == ["run", "a"]


def test_a_table_off_a_terminal_is_never_cut_or_folded():
    long = "x" * 500
    lines = render([{"name": long, "other": long}]).splitlines()
    assert lines[-1] == f"{long}  {long}"


def test_a_table_on_a_terminal_fits_and_loses_nothing(monkeypatch):
    monkeypatch.setattr("sys.stdout", FakeTerminal())
    monkeypatch.setenv("COLUMNS", "80")
    letters = "".join(chr(ord("a") + index % 26) for index in range(150))
    lines = render([{"name": letters, "value": 1.5}]).splitlines()
    assert max(map(len, lines)) <= 80
    body = [line for line in lines[2:] if line.strip()]
    assert "".join(line.split()[0] for line in body) == letters


@pytest.mark.parametrize("width", range(24, 60))
def test_a_table_that_is_cut_into_several_folds_no_cell(width):
    row = {"gemm": "minilm.up.dx", **{f"run{number} cpu": 10.25 for number in range(6)}}
    lines = render([row], labels=1, width=width).splitlines()
    assert max(map(len, lines)) <= width
    rows = [line.split() for line in lines if "10.25" in line]
    assert {cells[0] for cells in rows} == {"minilm.up.dx"}
    assert sum(len(cells) - 1 for cells in rows) == 6


def test_there_is_no_colour_even_on_a_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdout", FakeTerminal())
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in render(ROWS)


def test_markup_in_names_is_text():
    assert "[bold]x[/bold]" in render([{"[red]name": "[bold]x[/bold]"}])


def test_csv_keeps_every_digit_and_quotes():
    read = list(csv.reader(io.StringIO(render(ROWS, format="csv"))))
    assert read == [
        ["gemm", "macs", "time_ms.total", "exact", "note"],
        ["q", "12345678901234567890", "1.23456", "true", ""],
        ["k|v\n", "7", "", "false", 'a,"b"'],
    ]


def test_json_keeps_types_and_every_digit():
    read = json.loads(render(ROWS, ["macs", "time_ms.total", "note"], format="json"))
    assert read == [
        {"macs": 12345678901234567890, "time_ms.total": 1.23456, "note": None},
        {"macs": 7, "time_ms.total": None, "note": 'a,"b"'},
    ]


def test_json_of_all_columns_keeps_rows_as_they_are():
    rows = [{"bits": {"a": 8, "b": 4}, "baselines": {}}, {"bits": 8, "baselines": {"fp32": 0.5}}]
    assert json.loads(render(rows, format="json")) == rows


def test_json_is_strict():
    with pytest.raises(ValueError, match="not JSON compliant"):
        render([{"x": float("nan")}], format="json")


def test_markdown_escapes_what_would_break_it():
    assert render(ROWS, ["gemm", "macs"], format="markdown", title="T") == (
        "T\n"
        "\n"
        "| gemm | macs |\n"
        "| --- | ---: |\n"
        "| q | 12,345,678,901,234,567,890 |\n"
        "| k\\|v\\\\n | 7 |\n"
    )


def test_columns_are_chosen_and_ordered():
    assert render(ROWS, ["exact", "gemm"], format="csv").splitlines()[0] == "exact,gemm"


def test_an_unknown_column_is_an_error_with_the_nearest_name():
    with pytest.raises(InputError, match=r"did you mean 'time_ms\.total'"):
        render(ROWS, ["time_ms.totl"])


@pytest.mark.parametrize(
    ("format", "expected"), [("csv", "a,b\n"), ("json", "[]\n"), ("markdown", "| a | b |")]
)
def test_no_rows_still_give_a_well_formed_answer(format, expected):
    assert render([], ["a", "b"], format=format).startswith(expected)


def test_an_unknown_format_is_refused():
    with pytest.raises(ValueError, match="did you mean 'json'"):
        render(ROWS, format="jsn")


def test_a_row_of_latex_never_begins_with_a_bracket():
    """The line break before it would take it for its argument."""
    lines = render([{"array": [32, 32], "r": 1.5}], format="latex").splitlines()
    assert r"{}[32, 32] & 1.500 \\" in lines
