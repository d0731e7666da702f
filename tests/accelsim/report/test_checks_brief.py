"""What ``accelsim verify`` prints by default: failures, names and counts, on one screen."""

import itertools

import pytest

from accelsim.report.checks_brief import MOST_LINES, checks_brief
from gemm_backends import Outcome, load_backend
from gemm_backends.conformance import CHECKS
from gemm_backends.conformance.causes import PRODUCT

NAMES = [check.name for check in CHECKS]
BACKEND = load_backend("int64")
LONG = "a detail that is too long for one line of a terminal " * 9


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("statuses", itertools.product(("passed", "failed", "skipped"), repeat=3))
@pytest.mark.parametrize("cause", ["", PRODUCT])
def test_it_never_takes_more_lines_than_a_terminal_has(statuses, width, cause):
    cycle = itertools.cycle(statuses)
    found = [Outcome(name, next(cycle), LONG, 0.1, cause) for name in NAMES]
    found.append(Outcome("a step of its own", "failed", LONG))
    lines = checks_brief(BACKEND, found, width).splitlines()
    assert len(lines) <= MOST_LINES
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("int64(): 16 x 16 bits")
    counts = [f"{[o.status for o in found].count(s)} {s}" for s in ("passed", "failed", "skipped")]
    assert lines[-1] == ", ".join(counts)
    assert any(" failed" in line for line in lines[1:-1])


def test_every_failure_is_explained_or_named():
    found = [Outcome(name, "failed", f"because {name}") for name in NAMES]
    text = " ".join(checks_brief(BACKEND, found, 80).split())
    assert f"{NAMES[0]} failed: " in text
    assert f"because {NAMES[0]}" in text
    _, _, rest = text.partition("Failed too, with other errors: ")
    explained = [name for name in NAMES if f"{name} failed: " in text]
    assert rest.startswith(f"{NAMES[len(explained)]}, ")


def test_failures_that_may_follow_are_named_beneath_the_root():
    found = [Outcome(name, "failed", "wrong", 0.1, PRODUCT) for name in NAMES[:3]]
    text = " ".join(
        checks_brief(BACKEND, [*found, Outcome("memory", "failed", "leaks")], 80).split()
    )
    assert f"May follow from it, so mend it first: {NAMES[1]}, {NAMES[2]}" in text
    assert f"{NAMES[1]} failed" not in text
    assert "memory failed: " in text


def test_what_a_flag_of_the_backend_found_is_told():
    found = [Outcome(NAMES[0], "passed", "27 shapes"), Outcome("step in RTL", "passed", "9 lanes")]
    text = checks_brief(BACKEND, found, 80)
    assert f"Passed: {NAMES[0]}, step in RTL (9 lanes)\n" in text
    assert "Skipped" not in text
