"""Records side by side."""

from accelsim.report.pivot import pivot


def record(gemm, bits, backend, **values):
    return {"gemm": gemm, "bits": bits, "backend": backend, **values}


RECORDS = [
    record("q", 4, "emulator", exact=True, time=1.0),
    record("q", 4, "cpu", exact=False, time=3.0),
    record("q", 8, "emulator", exact=True, time=5.0),
    record("k", {"a": 8, "b": 4}, "cpu", exact=None, time=None),
]


def test_every_record_has_its_cell():
    result = pivot(RECORDS, ["gemm", "bits"], ["backend"], ["time"])
    assert result.columns == ("emulator", "cpu")
    assert result.merged == 1
    assert result.table(["time"]) == [
        {"gemm": "q", "bits": 4, "emulator": 1.0, "cpu": 3.0},
        {"gemm": "q", "bits": 8, "emulator": 5.0, "cpu": None},
        {"gemm": "k", "bits": "8/4", "emulator": None, "cpu": None},
    ]


def test_columns_that_say_the_same_in_every_row_are_one():
    records = [
        record(gemm, 4, backend, ratio=ratio, time=time)
        for gemm, ratio in (("q", 1.5), ("k", 1.0))
        for backend, time in (("emulator", 1.0), ("cpu", ratio))
    ]
    away = record("q", 4, "cuda", ratio=None, time=None)
    result = pivot([*records, away], ["gemm"], ["backend"], ["ratio", "time"])
    assert result.without_repeats("ratio").table(["ratio"]) == [
        {"gemm": "q", "emulator, cpu": 1.5},
        {"gemm": "k", "emulator, cpu": 1.0},
    ]
    assert result.without_repeats("time") == result
    lacking = pivot([*records[1:], away], ["gemm"], ["backend"], ["ratio"])
    assert lacking.without_repeats("ratio") == lacking, "a value that is missing is not equal"


def test_several_values_are_named_in_the_headings():
    result = pivot(RECORDS, ["gemm"], ["backend"], ["exact", "time"])
    assert result.headings(["exact", "time"]) == [
        "gemm",
        "emulator exact",
        "emulator time",
        "cpu exact",
        "cpu time",
    ]
    assert list(result.table(["exact", "time"])[0]) == result.headings(["exact", "time"])


def test_several_records_in_a_cell_are_merged_by_their_kind():
    records = [
        record("q", 4, "cpu", exact=True, time=1, strategy="row", same=2**60),
        record("q", 4, "cpu", exact=True, time=10, strategy="column", same=2**60),
        record("q", 4, "cpu", exact=False, time=3, strategy="row", same=2**60),
        record("q", 4, "cpu", exact=None, time=None, strategy=None, same=None),
    ]
    result = pivot(records, ["gemm"], ["backend"], ["exact", "time", "strategy", "same"])
    cells = {field: value for (_, _, field), value in result.cells.items()}
    assert cells == {"exact": False, "time": 3, "strategy": "row, column", "same": 2**60}
    assert result.merged == 4


def test_all_yes_is_yes():
    records = [record("q", 4, "cpu", exact=True), record("q", 8, "cpu", exact=True)]
    assert pivot(records, ["gemm"], ["backend"], ["exact"]).table(["exact"])[0]["cpu"] is True


def test_columns_of_several_fields_read_as_one():
    result = pivot(RECORDS, ["gemm"], ["backend", "bits"], ["time"])
    assert result.columns == ("emulator 4", "emulator 8", "cpu 4", "cpu 8/4")


def test_the_order_is_that_of_the_fields_though_records_came_in_any():
    came = [RECORDS[0], RECORDS[3], RECORDS[2], RECORDS[1]]
    result = pivot(came, ["gemm", "bits"], ["backend"], ["time"])
    assert result.rows == (("q", 4), ("q", 8), ("k", "8/4"))
    assert result.columns == ("emulator", "cpu")


def test_nothing_gives_an_empty_pivot():
    result = pivot([], ["gemm"], ["backend"], ["time"])
    assert (result.table(["time"]), result.headings(["time"]), result.merged) == ([], ["gemm"], 0)


def test_times_of_several_gemms_are_added_and_rates_are_not():
    records = [
        record("q", 4, "cpu", seconds=1.0, tops=1.0),
        record("q", 4, "cpu", seconds=3.0, tops=2.0),
        record("k", 4, "cpu", seconds=10.0, tops=4.0),
        record("q", 4, "gpu", seconds=1.0, tops=1.0),
        record("k", 4, "gpu", seconds=None, tops=3.0),
    ]
    result = pivot(records, ["bits"], ["backend"], ["seconds", "tops"])
    (row,) = result.table(["seconds", "tops"])
    assert row["cpu seconds"] == 2.0 + 10.0
    assert row["gpu seconds"] is None, "a sum without one of the GEMMs is no sum"
    assert (row["cpu tops"], row["gpu tops"]) == (2.0, 2.0)
    assert (result.added, result.divided) == ({"seconds"}, frozenset())


def test_the_unpack_ratio_of_several_gemms_is_weighted_by_their_multiplications():
    def counted(gemm, backend, low, dense):
        ratio = None if low is None else low / dense
        return record(gemm, 4, backend, ratio=ratio, low_bit_macs=low, dense_macs=dense)

    records = [
        counted("q", "cpu", 400, 100),
        counted("k", "cpu", 10, 10),
        counted("v", "cpu", 20, 10),
        counted("q", "gpu", 400, 100),
        counted("k", "gpu", None, None),
    ]
    result = pivot(records, ["bits"], ["backend"], ["ratio"])
    (row,) = result.table(["ratio"])
    assert row["cpu"] == 430 / 120, "and not the median, 2"
    assert row["gpu"] is None
    assert result.divided == {"ratio"}
    alone = pivot(records, ["gemm"], ["backend"], ["ratio"])
    assert [row["cpu"] for row in alone.table(["ratio"])] == [4, 1, 2]
    assert alone.divided == frozenset()
