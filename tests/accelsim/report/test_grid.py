"""The data behind a table of the page."""

import json

from accelsim.report.html.grid import MOST_CHOICES, PAGE, Column, Grid

NAME = Column("name", "what it is called", lambda row: row[0])
SIZE = Column("size", "", lambda row: row[1], "{:.1f}".format)


def table(rows, *columns):
    return Grid("test", columns or (NAME, SIZE), rows)


def columns_of(grid):
    return json.loads(grid.data)["columns"]


def texts_of(column):
    return [column["texts"][place] for place in column["rows"]]


def test_every_row_is_in_the_data_and_the_first_ones_in_the_page():
    grid = table([(f"n{index % 7}", index / 3) for index in range(3 * PAGE)])
    name, size = columns_of(grid)
    assert texts_of(name) == [f"n{index % 7}" for index in range(3 * PAGE)]
    assert texts_of(size) == [f"{index / 3:.1f}" for index in range(3 * PAGE)]
    assert [[cell.text for cell in row] for row in grid.first_rows] == [
        list(pair) for pair in zip(texts_of(name), texts_of(size), strict=True)
    ][:PAGE]


def test_equal_texts_of_different_numbers_sort_apart():
    _, size = columns_of(table([("a", 1.04), ("b", 1.01), ("c", 1.04)]))
    assert texts_of(size) == ["1.0", "1.0", "1.0"]
    assert [size["keys"][place] for place in size["rows"]] == [1.04, 1.01, 1.04]


def test_a_missing_value_has_a_dash_and_no_key():
    _, size = columns_of(table([("a", None), ("b", 2.0)]))
    assert texts_of(size) == ["–", "2.0"]
    assert [size["keys"][place] for place in size["rows"]] == [None, 2]


def test_a_column_without_any_value_is_left_out():
    grid = table([("a", None)])
    assert [cell.text for cell in grid.head] == ["name"]
    assert [column["title"] for column in columns_of(grid)] == ["name"]


def test_labels_with_a_few_values_can_be_chosen():
    few, many = ([(f"n{index % size}", 1) for index in range(90)] for size in (3, MOST_CHOICES + 1))
    assert [column["choose"] for column in columns_of(table(few))] == [True, False]
    assert [column["choose"] for column in columns_of(table(many))] == [False, False]
    assert not columns_of(table([("same", 1)]))[0]["choose"]


def test_no_text_can_end_the_script():
    grid = table([("</script><b>", 1)])
    assert "<" not in grid.data
    assert texts_of(columns_of(grid)[0]) == ["</script><b>"]
