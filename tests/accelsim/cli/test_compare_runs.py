"""``accelsim compare`` across runs: intervals, the test for slower, warnings, widths, LaTeX."""

import csv
import io
import json

import numpy as np
import pytest

from accelsim.cli import main
from accelsim.records import Quartiles
from accelsim.records.record import TimingNotes

MACHINE = {
    "accelsim": "0.1.0",
    "torch": "2.13.0",
    "cpu": {"model": "Imaginary 9000", "isa": ["avx2"], "usable_cores": 2, "torch_threads": 2},
    "gpus": [],
}
NOTES = {
    "cache": "warm", "warmup": 1, "relative_error": 0.01, "outliers": 0, "load_per_core": 0.5,
    "clock_mhz": [3000.0, 3000.0],
}  # fmt: skip


@pytest.fixture
def compare(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main(["compare", *map(str, arguments)])
        captured = capsys.readouterr()
        return exit_.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def timed(make_record):
    """Return a function that makes a record with real-looking repeats around a mean."""
    generator = np.random.default_rng(0)

    def make(mean, repeats=20, spread=0.02, **changes):
        samples = np.abs(generator.normal(mean, spread * mean, repeats)).tolist()
        p25, median, p75 = np.percentile(samples, (25, 50, 75)).tolist()
        times = Quartiles(median=median, p25=p25, p75=p75, repeats=repeats)
        fields = {
            "time_ms": {"gemm": times, "total": times},
            "samples_ms": {"gemm": samples, "total": samples},
            "timing": TimingNotes(**NOTES),
        }
        return make_record(**(fields | changes))

    return make


@pytest.fixture
def write_run(tmp_path):
    def write(name, records, config=None, **session):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "records.jsonl").write_text("".join(f"{r.to_json()}\n" for r in records))
        sessions = [{"machine": MACHINE, **session}]
        run = {"config": config or {}, "config_hash": "hash", "sessions": sessions}
        (folder / "run.json").write_text(json.dumps(run))
        return folder

    return write


def gemms(timed, means, **changes):
    return [timed(mean, gemm=f"g{i}", **changes) for i, mean in enumerate(means)]


@pytest.mark.parametrize("repeats", [5, 6])
def test_fewer_than_six_repeats_have_no_interval(compare, timed, write_run, repeats):
    runs = [write_run(name, gemms(timed, [10], repeats=repeats)) for name in ("old", "new")]
    status, out, _ = compare(*runs, "--baseline", "old")
    assert status == 0
    assert ("95% interval" in out) is (repeats == 6)


@pytest.mark.parametrize(("spread", "mark"), [(0.01, ""), (0.2, "~")])
def test_a_doubtful_speedup_is_marked_in_its_cell(compare, timed, write_run, spread, mark):
    runs = [write_run(name, gemms(timed, [10], spread=spread)) for name in ("old", "new")]
    status, out, err = compare(*runs, "--baseline", "old")
    assert status == 0
    (line,) = (line for line in out.splitlines() if "[" in line and "g0" in line)
    assert line.split()[-3].startswith(mark or ("0", "1"))
    assert ("approximate" in err) is bool(mark)


def test_a_baseline_that_no_run_timed_says_how_to(compare, timed, write_run):
    status, _, err = compare(write_run("run", gemms(timed, [10])), "--baseline", "tf32")
    assert status == 2
    assert "no run timed tf32" in err
    assert "baselines: [tf32]" in err


class TestFailIfSlower:
    def test_a_slower_record_is_found_and_named(self, compare, timed, write_run):
        old = write_run("old", gemms(timed, [10, 10, 10]))
        new = write_run("new", gemms(timed, [10, 12, 10]))
        status, out, _ = compare(old, new, "--fail-if-slower", "5%")
        assert status == 1
        assert "new against old: FAILED: 1 of 3 records slower by more than 5%" in " ".join(
            out.split()
        )
        assert "slower: tiny/g1 β=31 b=4 mix balanced emulator: 1." in " ".join(out.split())
        assert out.count("slower: ") == 1

    def test_the_same_or_a_little_slower_passes(self, compare, timed, write_run):
        old = write_run("old", gemms(timed, [10] * 20))
        new = write_run("new", gemms(timed, [10, 10.2, 10.3] * 6 + [9, 5]))
        status, out, _ = compare(old, new, "--fail-if-slower", "5%")
        assert status == 0
        assert "passed: 0 of 20" in out

    def test_a_median_within_the_noise_decides_nothing(self, compare, timed, write_run):
        old = write_run("old", gemms(timed, [10], repeats=6, spread=0.5))
        new = write_run("new", gemms(timed, [11.5], repeats=6, spread=0.5))
        status, out, _ = compare(old, new, "--fail-if-slower", "5%")
        assert status == 0
        assert "within the noise" in out or "0 of 1" in out

    def test_no_longer_exact_fails(self, compare, timed, make_record, write_run):
        wrong = make_record(gemm="g0", status="inexact", exact=False, mismatches=3, max_abs_error=1)
        old = write_run("old", gemms(timed, [10, 10]))
        new = write_run("new", [wrong, timed(10, gemm="g1")])
        status, out, _ = compare(old, new, "--fail-if-slower", "5%")
        assert status == 1
        assert "no longer exact: tiny/g0" in out

    def test_too_few_repeats_are_refused_not_passed(self, compare, timed, write_run):
        old = write_run("old", gemms(timed, [10], repeats=2))
        new = write_run("new", gemms(timed, [20], repeats=2))
        status, _, err = compare(old, new, "--fail-if-slower", "5%")
        assert status == 2
        assert "too few repeats" in err

    def test_records_without_repeats_and_runs_with_nothing_in_common_are_refused(
        self, compare, timed, make_record, write_run
    ):
        old = write_run("old", [make_record()])
        new = write_run("new", [make_record()])
        assert "samples_ms" in compare(old, new, "--fail-if-slower", "5%")[2]
        other = write_run("other", gemms(timed, [10]))
        assert "in common" in compare(old, other, "--fail-if-slower", "5%")[2]

    def test_a_record_that_is_gone_is_told(self, compare, timed, write_run):
        old = write_run("old", gemms(timed, [10, 10]))
        new = write_run("new", gemms(timed, [10]))
        assert "1 records of old are not in new" in compare(old, new, "--fail-if-slower", "5%")[1]

    @pytest.mark.parametrize(("text", "ok"), [("5%", True), ("0.05", True), ("x", False)])
    def test_the_tolerance_is_a_percentage(self, compare, timed, write_run, text, ok):
        paths = [write_run(name, gemms(timed, [10])) for name in ("old", "new")]
        assert (compare(*paths, "--fail-if-slower", text)[0] == 2) is not ok

    def test_one_run_is_not_compared(self, compare, timed, write_run):
        status, _, err = compare(write_run("a", gemms(timed, [1])), "--fail-if-slower", "5%")
        assert status == 2
        assert "name the old one" in err

    def test_csv_keeps_the_verdict_off_stdout(self, compare, timed, write_run):
        paths = [write_run(name, gemms(timed, [10])) for name in ("old", "new")]
        _, out, err = compare(*paths, "--fail-if-slower", "5%", "--format", "csv")
        assert "passed" in err
        assert len(list(csv.reader(io.StringIO(out)))) == 2


class TestIntervals:
    def test_against_a_run_stand_beside_the_speedup(self, compare, timed, write_run):
        old = write_run("old", gemms(timed, [20, 10]))
        new = write_run("new", gemms(timed, [10, 10]))
        arguments = (old, new, "--baseline", "old", "--values", "ratio")
        _, out, _ = compare(*arguments, "--format", "csv")
        row = next(csv.DictReader(io.StringIO(out)))
        value, low, high = (
            float(row[f"new emulator speedup_{end}.old"]) for end in ("vs", "low", "high")
        )
        assert low < value < high
        assert low < 2 < high
        assert high - low < 0.2
        _, out, _ = compare(*arguments)
        assert "[95% interval]" in out
        assert f"{value:.3f} [{low:.3f}, {high:.3f}]" in out

    def test_against_floats_use_the_repeats_of_the_float_gemm(self, compare, timed, write_run):
        samples = {"fp32": [4.0, 4.1, 3.9, 4.0, 4.0, 4.0]}
        run = write_run("run", [timed(10, baselines={"fp32": 4.0}, baseline_samples_ms=samples)])
        _, out, _ = compare(run, "--baseline", "fp32", "--format", "csv", "--values", "ratio")
        row = next(csv.DictReader(io.StringIO(out)))
        low, high = (float(row[f"emulator speedup_{e}.fp32"]) for e in ("low", "high"))
        assert 0.35 < low < 0.4 < high < 0.45

    def test_of_merged_cells_are_left_out(self, compare, timed, write_run):
        run = write_run(
            "run",
            gemms(timed, [10, 12], baseline_samples_ms={"fp32": [2.0, 2.1]}, baselines={"fp32": 2}),
        )
        _, out, err = compare(run, "--baseline", "fp32", "--rows", "bits")
        assert "interval" not in out
        assert "medians" in err


def test_tables_fit_80_columns_and_repeat_their_labels(compare, timed, write_run):
    paths = [write_run(f"machine-{i}", gemms(timed, [10.123, 3])) for i in range(9)]
    _, out, _ = compare(*paths, "--baseline", "machine-0")
    assert max(map(len, out.splitlines())) <= 80
    assert out.count("g0") > 9, "each part has the labels"
    for i in range(9):
        assert f"machine-{i}" in out


def test_latex_is_a_booktabs_tabular(compare, timed, write_run):
    run = write_run("run", [timed(10, gemm="50%_of{q}&k")])
    _, out, _ = compare(run, "--format", "latex", "--values", "ratio")
    lines = out.splitlines()
    assert r"\usepackage{booktabs}" in lines[1]
    assert lines[2] == r"\begin{tabular}{@{}lrrlr@{}}"
    rules = [line for line in lines if line in (r"\toprule", r"\midrule", r"\bottomrule")]
    assert rules == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert r"50\%\_of\{q\}\&k & 31 & 4 & mix & 1.221 \\" in lines
    assert lines[-1] == r"\end{tabular}"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"operands_sha256": "b" * 64}, "operands differ, so the results do: tiny/g0"),
        (
            {"timing": TimingNotes(**NOTES | {"clock_mhz": [2000.0, 2000.0]})},
            "clocks of cpu differ",
        ),
        ({"timing": TimingNotes(**NOTES | {"load_per_core": 4.0})}, "busy machine"),
    ],
)
def test_what_makes_runs_hard_to_compare_is_told(compare, timed, write_run, change, words):
    base = {"operands_sha256": "a" * 64, "device": "cpu"}
    paths = [
        write_run("a", gemms(timed, [10], **base)),
        write_run("b", gemms(timed, [10], **(base | change))),
    ]
    assert words in compare(*paths)[2]
    assert compare(paths[0])[2] == ""


def test_other_settings_and_other_commits_are_told(compare, timed, write_run):
    def git(commit):
        return {"commit": commit * 40, "dirty": False}

    a = write_run("a", gemms(timed, [1]), {"timing": {"cache": "warm"}}, git=git("a"))
    b = write_run("b", gemms(timed, [1]), {"timing": {"cache": "cold"}}, git=git("b"))
    err = compare(a, b)[2]
    assert "differ in timing.cache: a: warm; b: cold" in err
    assert "different commits: a: aaaaaaaaaa; b: bbbbbbbbbb" in err
