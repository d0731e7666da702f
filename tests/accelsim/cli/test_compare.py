"""``accelsim compare``."""

import csv
import io
import json
import re

import pytest

from accelsim.cli import main

MACHINE = {
    "accelsim": "0.1.0",
    "torch": "2.13.0",
    "cpu": {"model": "Imaginary 9000", "isa": ["avx2"], "usable_cores": 2, "torch_threads": 2},
    "gpus": [],
    "driver": None,
    "cuda": None,
}


@pytest.fixture
def compare(capsys):
    """Return a function that runs the command and gives its status, stdout and stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main(["compare", *map(str, arguments)])
        captured = capsys.readouterr()
        return exit_.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def write_run(tmp_path):
    """Return a function that writes a run folder and gives its path."""

    def write(name, records, machines=(MACHINE,)):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "records.jsonl").write_text("".join(f"{r.to_json()}\n" for r in records))
        sessions = [{"machine": machine} for machine in machines]
        run = {"config": {}, "config_hash": "hash", "sessions": sessions}
        (folder / "run.json").write_text(json.dumps(run))
        return folder

    return write


@pytest.fixture
def run(write_run, make_record):
    """Return a run of two GEMMs at two widths on two backends, and one backend that is missing."""
    return write_run(
        "run",
        [
            make_record(gemm=gemm, bits=bits, backend=backend, total_ms=factor * bits)
            for gemm in ("q", "k")
            for bits in (4, 8)
            for backend, factor in (("emulator", 10.0), ("cpu-int8", 1.0))
        ]
        + [
            make_record(
                gemm="q", bits=4, backend="cuda-int8", status="unavailable", reason="no GPU"
            )
        ],
    )


def rows_of(csv_text):
    return list(csv.DictReader(io.StringIO(csv_text)))


def test_backends_stand_side_by_side_by_default(compare, run):
    status, out, err = compare(run)
    assert status == 0
    blocks = out.split("\n\n")
    titles = [line for line in out.splitlines() if re.match(r"[a-z_.]+: ", line)]
    assert [title.partition(":")[0] for title in titles] == ["exact", "ratio", "time_ms.total"]
    assert "ms" in titles[2]
    header = blocks[1].splitlines()[0].split()
    assert header == ["gemm", "beta", "bits", "strategy", "emulator", "cpu-int8", "cuda-int8"]
    last = out[out.index(titles[2]) :].splitlines()
    assert last[4].split() == ["q", "31", "4", "mix", "40", "4", "–"]
    assert blocks[-1].splitlines() == [
        "beta      rounding maps the percentile of the magnitudes to half of β",
        "bits      bits of an operand of the multiplier; A/B where they differ",
        "strategy  how entries that do not fit b bits are unpacked; mix: the cheapest of",
        "    row, column and both for A with each for B",
        "–         there is no value; a note says why where nothing ran",
    ]
    assert err == "accelsim: note: cuda-int8: 1 unavailable: no GPU\n"


def test_csv_has_every_cell_in_one_table(compare, run):
    _, out, _ = compare(run, "--format", "csv")
    rows = rows_of(out)
    assert [(row["gemm"], row["bits"]) for row in rows] == [
        ("q", "4"),
        ("q", "8"),
        ("k", "4"),
        ("k", "8"),
    ]
    assert rows[1]["emulator time_ms.total"] == "80.0"
    assert rows[1]["cpu-int8 exact"] == "true"
    assert rows[0]["cuda-int8 time_ms.total"] == ""


def test_rows_columns_and_values_are_chosen(compare, run):
    _, out, _ = compare(
        run, "--rows", "gemm, backend", "--columns", "bits", "--values", "time_ms.gemm.p75",
        "--where", "backend=emulator", "--format", "json",
    )  # fmt: skip
    assert json.loads(out) == [
        {"gemm": "q", "backend": "emulator", "4": pytest.approx(33), "8": pytest.approx(66)},
        {"gemm": "k", "backend": "emulator", "4": pytest.approx(33), "8": pytest.approx(66)},
    ]


@pytest.fixture
def two_designs(write_run, make_record):
    return write_run(
        "designs",
        [
            make_record(
                bits=bits,
                backend_options={"bits": bits, "accumulator_bits": width},
                low_bit_macs=100 * bits + width,
            )
            for bits in (4, 8)
            for width in (18, 24)
        ],
    )


def test_designs_with_different_options_do_not_share_a_cell(compare, two_designs):
    chosen = ("--rows", "gemm", "--values", "low_bit_macs", "--format", "json")
    _, out, err = compare(two_designs, "--columns", "backend,bits", *chosen)
    (row,) = json.loads(out)
    (backend,) = {key.split()[0] for key in row if key != "gemm"}
    assert {key: value for key, value in row.items() if key != "gemm"} == {
        f"{backend} {width} {bits}": 100 * bits + width for width in (18, 24) for bits in (4, 8)
    }
    assert "medians" not in err
    rows = ("--rows", "backend", "--columns", "bits", *chosen[2:])
    assert len(json.loads(compare(two_designs, *rows)[1])) == 2
    named = ("--rows", "backend_options.accumulator_bits", *chosen[2:])
    found = json.loads(compare(two_designs, "--columns", "backend,bits", *named)[1])
    assert [list(row)[1:] for row in found] == 2 * [[f"{backend} 4", f"{backend} 8"]]


def test_a_cell_is_no_median_of_different_designs(compare, two_designs):
    chosen = ("--rows", "gemm", "--values", "low_bit_macs", "--format", "json")
    _, out, err = compare(two_designs, "--columns", "bits", *chosen)
    (row,) = json.loads(out)
    assert row == {"gemm": row["gemm"], "4 18": 418, "4 24": 424, "8 18": 818, "8 24": 824}
    assert "medians" not in err
    assert "columns are split by backend_options.accumulator_bits: " in err
    where = ("--where", "accumulator_bits=18", "--columns", "b")
    _, out, err = compare(two_designs, *where, *chosen)
    assert json.loads(out)[0]["4"] == 418
    assert "split" not in err


def test_columns_are_split_by_every_setting_that_differs(compare, write_run, make_record):
    path = write_run(
        "run",
        [
            make_record(
                gemm=gemm, beta=beta, strategy=strategy, seconds=beta * len(strategy) + len(gemm),
                ratio=1.5, backend_options={"bits": 4, "dataflow": kept},
            )
            for gemm in ("q", "other")
            for beta, strategy, kept in (
                (15, "mix", "output"), (31, "mix", "output"), (31, "row", "output"),
                (31, "both", "weight"), (31, "both", "output"),
            )
        ],
    )  # fmt: skip
    for rows in (("--rows", "gemm"), ("--rows", "phase")):
        _, out, err = compare(
            path, *rows, "--columns", "bits", "--values", "seconds", "--format", "json"
        )
        assert "split by beta, strategy:" in err
        (first, *_) = json.loads(out)
        assert {key.partition(" ")[2] for key in first if key[0] == "4"} == {
            *("15 mix", "31 mix", "31 row", "31 both"),
        }
    _, out, err = compare(path, "--rows", "gemm", "--columns", "bits", "--values", "ratio")
    assert "split" not in err, "equal numbers have one column"


def test_modelled_runs_show_cycles_seconds_and_energy_of_each_design(
    compare, write_run, make_record
):
    def records(**changes):
        return [
            make_record(
                gemm=gemm, beta=beta, cost_model="array", cycles=100 * beta, seconds=beta / 2,
                energy=None, backend_options={"dataflow": kept}, **changes,
            )
            for gemm in "qk"
            for beta in (15, 31)
            for kept in ("output", "weight")
        ]  # fmt: skip

    counted = {"status": "counted", "reason": "as asked", "exact": None, "mismatches": None}
    counted |= {"product": "none", "time_ms": {}, "samples_ms": {}, "max_abs_error": None}
    path = write_run("counted", records(**counted))
    rows = rows_of(compare(path, "--format", "csv")[1])
    assert [row["beta"] for row in rows] == ["15", "31"]
    assert "gemm" not in rows[0]
    assert {key.split()[-1] for key in rows[0]} & {"exact", "cycles", "seconds", "energy"} == {
        *("cycles", "seconds"),
    }
    assert rows[1]["emulator weight cycles"] == str(2 * 3100)
    assert float(rows[1]["emulator weight seconds"]) == 31
    _, out, _ = compare(path)
    assert "exact" not in out
    made = write_run("made", records())
    titles = {key.split()[-1] for key in rows_of(compare(made, "--format", "csv")[1])[0]}
    assert {"exact", "cycles", "seconds"} <= titles
    both = write_run("both", [*records(), make_record(backend="cpu-int8")])
    titles = {key.split()[-1] for key in rows_of(compare(both, "--format", "csv")[1])[0]}
    assert {"exact", "ratio", "time_ms.total"} <= titles


@pytest.mark.parametrize(
    ("head", "field"),
    [
        ("stalls", "stall_cycles"), ("use", "utilization"), ("b", "bits"), ("β", "beta"),
        ("r", "ratio"), ("MACs", "low_bit_macs"), ("area·time", "area_time"), ("mm²", "area_mm2"),
        ("GEMM", "gemm"), ("total", "time_ms.total"),
        ("search", "backend_options.memory.search"), ("accumulator bits", "accumulator_bits"),
    ],
)  # fmt: skip
def test_heads_of_tables_are_names_of_fields(compare, write_run, make_record, head, field):
    options = {"memory": {"search": "cycles"}, "accumulator_bits": 24}
    path = write_run("run", [make_record(backend_options=options)])
    found = compare(path, "--rows", "phase", "--columns", "layer", "--values", head)
    assert (
        found[:2] == compare(path, "--rows", "phase", "--columns", "layer", "--values", field)[:2]
    )
    assert found[0] == 0


def test_markdown_is_a_table_per_value(compare, run):
    _, out, _ = compare(run, "--format", "markdown", "--values", "ratio")
    assert out.splitlines()[:4] == [
        "ratio: low-bit multiplications over those of the GEMM",
        "",
        "| gemm | beta | bits | strategy | emulator | cpu-int8 | cuda-int8 |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: |",
    ]


def test_several_records_in_a_cell_are_a_median_and_that_is_said(
    compare, write_run, make_record, run
):
    runs = [
        write_run(name, [make_record(gemm="q", backend="emulator", total_ms=time)])
        for name, time in (("monday", 40.0), ("friday", 80.0))
    ]
    chosen = ("--rows", "gemm", "--values", "time_ms.total", "--format", "csv")
    _, out, err = compare(*runs, "--columns", "backend", *chosen)
    assert rows_of(out)[0]["emulator"] == "60.0"
    assert "up to 2 records: medians" in err
    _, out, err = compare(run, *chosen)
    assert rows_of(out)[0]["emulator 4"] == "40.0"
    assert rows_of(out)[0]["emulator 8"] == "80.0"
    assert "medians" not in err


def test_one_record_in_each_cell_is_not_remarked_on(compare, run):
    assert "median" not in compare(run)[2]


def test_whatever_was_swept_gets_a_row_by_default(compare, write_run, make_record):
    path = write_run(
        "run",
        [
            make_record(percentile=percentile, digits=digits, workload=workload)
            for percentile in (95.0, 100.0)
            for digits in ("paper", "balanced")
            for workload in ("a", "b")
        ],
    )
    _, out, err = compare(path, "--format", "csv")
    assert len(rows_of(out)) == 8
    assert {"percentile", "digits", "workload"} <= set(rows_of(out)[0])
    assert "median" not in err


def test_the_same_backend_with_other_options_gets_a_column_each(compare, write_run, make_record):
    path = write_run(
        "run",
        [
            make_record(bits=bits, backend_options={"bits": bits, "accumulator_bits": accumulator})
            for bits in (4, 8)
            for accumulator in (24, 32)
        ]
        + [make_record(backend="cpu-int8")],
    )
    _, out, err = compare(path, "--values", "ratio", "--format", "csv")
    assert list(rows_of(out)[0])[4:] == ["emulator 24", "emulator 32", "cpu-int8"]
    assert "median" not in err


class TestWhere:
    @pytest.mark.parametrize(
        ("condition", "count"),
        [
            ("bits=4", 2), ("bits=4.0", 2),
            ("bits=four", 0), ("gemm=q", 2), ("exact=true", 4), ("beta=31", 4),
            ("baselines.fp32=2", 4), ("status=unavailable", 1), ("block=null", 4),
        ],
    )  # fmt: skip
    def test_keeps_only_what_matches(self, compare, run, condition, count):
        status, out, err = compare(run, "--where", condition, "--format", "json")
        if count:
            assert len(json.loads(out)) == count
        else:
            assert status == 2
            assert "no record has" in err

    def test_conditions_add_up(self, compare, run):
        _, out, _ = compare(run, "--where", "bits=4", "--where", "gemm=k", "--format", "json")
        assert [(row["gemm"], row["bits"]) for row in json.loads(out)] == [("k", 4)]

    def test_pairs_of_operands_are_written_with_a_slash(self, compare, write_run, make_record):
        path = write_run("run", [make_record(bits=8), make_record(bits={"a": 8, "b": 4})])
        _, out, _ = compare(path, "--where", "bits=8/4", "--format", "json")
        assert [row["bits"] for row in json.loads(out)] == ["8/4"]

    def test_without_a_match_says_what_there_is(self, compare, run):
        status, _, err = compare(run, "--where", "backend=cpu")
        assert status == 2
        assert "no record has backend=cpu; there are: emulator, cpu-int8, cuda-int8" in err

    def test_needs_an_equals_sign(self, compare, run):
        status, _, err = compare(run, "--where", "backend")
        assert status == 2
        assert "FIELD=VALUE" in err


class TestBaseline:
    def test_of_floats_is_taken_from_the_record(self, compare, run):
        _, out, _ = compare(run, "--baseline", "fp32", "--values", "ratio", "--format", "csv")
        first = rows_of(out)[0]
        assert float(first["emulator speedup_vs.fp32"]) == pytest.approx(2 / 40)
        assert float(first["cpu-int8 speedup_vs.fp32"]) == pytest.approx(2 / 4)
        assert first["cuda-int8 speedup_vs.fp32"] == ""

    def test_a_backend_against_itself_is_1_however_its_times_spread(
        self, compare, write_run, make_record
    ):
        spread = {"total": [1.0, 9.0] * 10}
        path = write_run(
            "run",
            [
                make_record(backend="cpu-int8", samples_ms=spread),
                make_record(backend="emulator", samples_ms=spread),
            ],
        )
        _, out, err = compare(
            path, "--baseline", "cpu-int8", "--values", "ratio", "--format", "csv"
        )
        (row,) = rows_of(out)
        assert row["cpu-int8 speedup_vs.cpu-int8"] == "1.0"
        assert row["emulator speedup_vs.cpu-int8"] == ""
        assert "not a result" in err

    def test_of_a_backend_is_matched_record_by_record(self, compare, write_run, make_record):
        path = write_run(
            "run",
            [
                make_record(gemm="q", backend="cpu-int8", total_ms=8.0),
                make_record(gemm="k", backend="cpu-int8", total_ms=3.0),
                make_record(gemm="k", backend="emulator", total_ms=6.0),
                make_record(gemm="q", backend="emulator", total_ms=4.0),
                make_record(gemm="q", backend="emulator", total_ms=4.0, bits=2),
            ],
        )
        _, out, _ = compare(
            path, "--baseline", "cpu-int8", "--values", "ratio", "--format", "csv",
            "--where", "backend=emulator",
        )  # fmt: skip
        speedups = {
            (row["gemm"], row["bits"]): row["emulator speedup_vs.cpu-int8"] for row in rows_of(out)
        }
        assert speedups == {("k", "4"): "0.5", ("q", "4"): "2.0", ("q", "2"): ""}

    def test_of_a_backend_stays_within_its_run(self, compare, write_run, make_record):
        paths = [
            write_run(
                name,
                [
                    make_record(backend="cpu-int8", total_ms=slow),
                    make_record(backend="emulator", total_ms=10.0),
                ],
            )
            for name, slow in (("a", 10.0), ("b", 40.0))
        ]
        _, out, _ = compare(
            *paths, "--baseline", "cpu-int8", "--values", "ratio", "--format", "csv"
        )
        row = rows_of(out)[0]
        assert row["a emulator speedup_vs.cpu-int8"] == "1.0"
        assert row["b emulator speedup_vs.cpu-int8"] == "4.0"

    def test_of_a_backend_in_a_file(self, compare, write_run, make_record, tmp_path):
        (tmp_path / "mine.py").write_text(
            "from gemm_backends import Accumulator, GemmBackend\n"
            "class Mine(GemmBackend):\n"
            "    name, bits, accumulator = 'mine', 8, Accumulator(32, 'wrap')\n"
            "    def matmul(self, a, b): ...\n"
        )
        path = write_run(
            "a",
            [make_record(backend=name, total_ms=ms) for name, ms in (("mine", 8), ("int64", 2))],
        )
        reference = f"{tmp_path / 'mine.py'}:Mine"
        _, out, _ = compare(path, "--baseline", reference, "--values", "ratio", "--format", "csv")
        assert rows_of(out)[0]["int64 speedup_vs.mine"] == "4.0"

    def test_that_nobody_knows_is_an_error(self, compare, run):
        status, _, err = compare(run, "--baseline", "cpu-int")
        assert status == 2
        assert "did you mean 'cpu-int8'" in err
        assert "fp32" in err

    def test_that_was_never_timed_is_an_error(self, compare, run):
        status, _, err = compare(run, "--baseline", "cuda-int8")
        assert status == 2
        assert "no times" in err


class TestSeveralRuns:
    def test_stand_side_by_side_under_their_names(self, compare, write_run, make_record):
        paths = [write_run(name, [make_record()]) for name in ("old", "new")]
        _, out, err = compare(*paths, "--values", "ratio", "--format", "csv")
        assert set(rows_of(out)[0]) >= {"old emulator", "new emulator"}
        assert err == ""

    def test_of_the_same_name_go_by_their_paths(self, compare, write_run, make_record):
        paths = [write_run(f"{parent}/run", [make_record()]) for parent in ("a", "b")]
        _, out, _ = compare(*paths, "--values", "ratio", "--format", "csv")
        assert set(rows_of(out)[0]) >= {f"{path} emulator" for path in paths}

    def test_on_other_machines_give_a_warning(self, compare, write_run, make_record):
        gpu = {"name": "H100", "power_limit_w": 700.0, "sm_clock_mhz": 1980.0}
        other = MACHINE | {"torch": "2.12.0", "gpus": [gpu]}
        paths = [
            write_run("a", [make_record()]), write_run("b", [make_record()], machines=[other]),
        ]  # fmt: skip
        _, _, err = compare(*paths)
        assert "differ in torch: a: 2.13.0; b: 2.12.0" in err
        assert "differ in gpus: a: none; b: H100 (700.0 W)" in err
        assert "cpu" not in err

    def test_on_the_same_gpu_at_another_moment_give_none(self, compare, write_run, make_record):
        gpus = [{"name": "H100", "power_limit_w": 700.0, "sm_clock_mhz": c} for c in (345, 1980)]
        paths = [
            write_run(name, [make_record()], machines=[MACHINE | {"gpus": [gpu]}])
            for name, gpu in zip("ab", gpus, strict=True)
        ]
        assert compare(*paths)[2] == ""

    def test_without_a_machine_give_a_warning(self, compare, write_run, make_record):
        paths = [write_run(name, [make_record()]) for name in ("a", "b")]
        (paths[1] / "run.json").unlink()
        assert "b has no run.json: its machine is unknown" in compare(*paths)[2]


def test_a_run_resumed_on_another_machine_gives_a_warning(compare, write_run, make_record):
    other = MACHINE | {"cpu": MACHINE["cpu"] | {"model": "Imaginary 9001"}}
    path = write_run("run", [make_record()], machines=[MACHINE, other])
    assert "differ in cpu.model: run: Imaginary 9000; run: Imaginary 9001" in compare(path)[2]


@pytest.mark.parametrize("option", ["--rows", "--columns", "--values"])
def test_an_unknown_field_is_an_error_with_the_nearest_name(compare, run, option):
    status, out, err = compare(run, option, "gemm,time_ms.totl")
    assert (status, out) == (2, "")
    assert "unknown field 'time_ms.totl'; did you mean 'time_ms.total'" in err
    assert "Traceback" not in err


def test_runs_that_are_none_or_empty_are_errors(compare, tmp_path, write_run):
    for path, message in [
        (tmp_path / "nothing", "does not exist"),
        (tmp_path, "has no records.jsonl"),
        (write_run("empty", []), "has no records yet"),
    ]:
        status, out, err = compare(path)
        assert (status, out) == (2, "")
        assert message in err


def test_a_run_without_any_time_can_be_shown(compare, write_run, make_record):
    path = write_run("run", [make_record(status="unavailable", reason="no GPU")])
    status, out, err = compare(path)
    assert status == 0
    assert "–" in out
    assert "1 unavailable: no GPU" in err


def test_no_run_is_a_usage_error(compare):
    assert compare()[0] == 2


def test_cycles_of_different_clocks_are_told(write_run, make_record, compare):
    def design(mhz):
        options = {"memory": {"sram_kb": 64, "frequency_mhz": mhz}}
        return make_record(
            backend_options=options,
            cycles=100,
            seconds=100 / (mhz * 1e6),
            area_time=200.0,
            cost_model="an array",
        )

    folder = write_run("clocks", [design(700), design(1400)])
    _, _, err = compare(folder, "--values", "cycles,area_time")
    assert "cycles, area_time of designs with different clocks (700, 1400 MHz)" in err
    assert "--values seconds" in err
    assert "clocks" not in compare(folder, "--values", "seconds")[2]
    same = write_run("same", [design(700)])
    assert "clocks" not in compare(same, "--values", "cycles")[2]
