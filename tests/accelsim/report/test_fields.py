"""Nested rows and the names of their fields."""

from accelsim.report.fields import field_names, flatten, lookup

ROW = {
    "gemm": "q",
    "bits": {"a": 8, "b": 4},
    "options": {},
    "time_ms": {"total": {"median": 2.0, "p25": 1.0}},
    "baselines": {"fp.32": 3.0},
}


def test_flatten_names_nested_values_by_their_path():
    assert flatten(ROW) == {
        "gemm": "q",
        "bits.a": 8,
        "bits.b": 4,
        "options": {},
        "time_ms.total.median": 2.0,
        "time_ms.total.p25": 1.0,
        "baselines.fp.32": 3.0,
    }


def test_lookup_finds_what_is_there_and_none_where_it_is_not():
    assert lookup(ROW, "gemm") == "q"
    assert lookup(ROW, "bits") == {"a": 8, "b": 4}
    assert lookup(ROW, "bits.b") == 4
    assert lookup(ROW, "baselines.fp.32") == 3.0
    assert lookup(ROW, "baselines.bf16") is None
    assert lookup(ROW, "gemm.q") is None
    assert lookup(ROW, "") is None


def test_repeated_times_mean_their_median():
    assert lookup(ROW, "time_ms.total") == 2.0
    assert lookup(ROW, "time_ms.total.p25") == 1.0


def test_every_name_but_a_nest_of_nests_is_a_field():
    assert field_names([{"time_ms": {}}, ROW]) == [
        "gemm",
        "bits",
        "bits.a",
        "bits.b",
        "options",
        "time_ms.total",
        "time_ms.total.median",
        "time_ms.total.p25",
        "baselines",
        "baselines.fp.32",
    ]
