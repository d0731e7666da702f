"""What is seen of a run while it goes on."""

import io
import re

import pytest
from rich.console import Console

from accelsim.cli import live, progress
from accelsim.config import load_config
from accelsim.records import Record
from accelsim.runner.cases import list_cases
from accelsim.runner.progress import Steps, TimeLeft

CONFIG = """\
workloads:
  - synthetic: {n: 24, d: 32, h: 16, seed: 0}
quantize: {beta: [15, 31]}
unpack: {bits: 8, digits: [paper, balanced]}
backends:
  - {name: emulator, accumulator_bits: 24}
  - {name: emulator, accumulator_bits: 32}
  - cuda-int8
"""


@pytest.fixture
def cases(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    config = load_config(path)
    return list_cases(config, config.gemms())


def record(case, status="unsupported", reason="because"):
    return Record(**case.fields, status=status, reason=reason)


def show(cases, records, **console):
    """Show every record as it comes; return what was printed."""
    stream = io.StringIO()
    with progress.showing(cases, Console(file=stream, **console)) as tell:
        steps = Steps(cases, len(cases), iter(range(100)).__next__)
        tell(steps.begin())
        for case, made in zip(cases, records, strict=False):
            tell(steps.made(case, made))
    return stream.getvalue()


def test_names_tell_cases_apart_by_what_the_config_sweeps(cases):
    names = progress.Names(cases)
    found = [names.of(case.fields) for case in cases]
    assert len(set(found)) == len(cases)
    assert found[0].endswith(", β 15, paper digits, emulator, accumulator_bits=24")
    assert names.of(record(cases[0]).to_dict()) == found[0]


@pytest.mark.parametrize("width", [50, 100])
def test_a_terminal_has_one_line_that_is_gone_at_the_end(cases, width, monkeypatch):
    monkeypatch.setattr(live, "REFRESHES_PER_SECOND", 1e9)
    printed = show(cases, map(record, cases), force_terminal=True, width=width)
    frames = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", printed).replace("\n", "").split("\r")
    assert any(re.search(r"3/12 9\.0 s left .*24x32", frame) for frame in frames)
    assert max(map(len, frames)) <= width
    assert printed.rstrip().endswith("\x1b[2K"), "the line is cleared"
    assert printed.count("\n") <= 1


def test_elsewhere_lines_come_now_and_then(cases, monkeypatch):
    assert show(cases, map(record, cases)) == ""
    monkeypatch.setattr(live, "SECONDS_BETWEEN", 0)
    lines = show(cases, map(record, cases)).splitlines()
    assert len(lines) == len(cases), "none after the last record"
    assert lines[0].startswith("[0/12] ")
    assert re.match(
        r"\[3/12\] 9\.0 s left .*, β 15, balanced digits, emulator, accumulator_bits=24$", lines[3]
    )


def test_an_unavailable_backend_is_told_once_and_not_waited_for(cases):
    records = [
        record(case, *(("unavailable", "no [red] GPU") if case.backend.name == "cuda-int8" else ()))
        for case in cases
    ]
    assert show(cases, records) == "cuda-int8 cannot run here: no [red] GPU\n"
    steps = Steps(cases, len(cases))
    for case, made in zip(cases[:5], records, strict=False):
        step = steps.made(case, made)
    assert cases[5].backend.name == "cuda-int8"
    assert step.following is cases[6]


def test_the_first_failures_are_told(cases):
    lines = show(cases, [record(case, "error", "wrong\x1b") for case in cases]).splitlines()
    assert len(lines) == progress.MOST_FAILURES + 1
    assert lines[0].startswith("error: ")
    assert lines[0].endswith("emulator, accumulator_bits=24: wrong\\x1b")
    assert lines[-1] == "more records failed; all are listed at the end"


def test_the_time_left_follows_the_backends(cases):
    slow, fast, _, again = cases[:4]
    left = TimeLeft(cases)
    left.take(slow, 12.0)
    left.take(fast, 1.0)
    assert left.seconds is None, "the first cases may have compiled code"
    left.take(again, 8.0)
    others = (8 + 1) / 2
    assert left.seconds == pytest.approx(2 * 8 + 3 * 1 + 4 * others), "the slowest is left out"


def test_a_resumed_run_counts_what_is_there(cases):
    step = Steps(cases[2:], len(cases)).begin()
    assert (step.done, step.total, step.record, step.seconds_left) == (2, 12, None, None)
    assert step.following is cases[2]


def test_no_time_is_left_where_nothing_is(cases):
    clock = iter([0.1 * step**1.5 for step in range(100)]).__next__
    steps = Steps(cases, len(cases), clock)
    *earlier, last = [steps.made(case, record(case)) for case in cases]
    assert (last.following, last.seconds_left) == (None, None)
    assert all(step.seconds_left > 0 for step in earlier[2:])
