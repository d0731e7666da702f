"""``accelsim verify``: the table, the exit status, JUnit XML, and backends' own flags."""

import json
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from accelsim import cli
from accelsim.cli.verify import command, parsed_option
from accelsim.errors import InputError, NothingCouldRunError
from accelsim.report.checks import folded
from gemm_backends import Outcome
from gemm_backends.conformance import CHECKS, routes, verification

BACKENDS = """
import torch
from gemm_backends import Accumulator, Action, Availability, GemmBackend, Outcome

class Right(GemmBackend):
    name, bits, accumulator = "right", 8, Accumulator(32, "wrap")

    def __init__(self, lanes: int = 1):
        self.lanes = lanes

    def availability(self):
        return Availability(True, execution="emulated")

    def matmul(self, a, b):
        return (a.double() @ b.double().T).to(torch.int64).to(torch.int32)

    @classmethod
    def actions(cls):
        def simulate(backend):
            yield Outcome("step in RTL", "passed", f"{backend.lanes} lanes")
            yield Outcome("array in RTL", "failed", "3 of 9 outputs differ")
        return [Action("verify", "rtl", "Simulate the circuit.", simulate)]

class Wrong(Right):
    name = "wrong"
    def matmul(self, a, b):
        return super().matmul(a, b.clamp(min=-127))

class Elsewhere(Right):
    name = "elsewhere"
    def availability(self):
        return Availability(False, "no such chip")
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "accelerators.py"
    path.write_text(BACKENDS)
    return path


@pytest.fixture
def few_checks(monkeypatch):
    """Only the quickest checks, `extreme_digits` among them."""
    monkeypatch.setattr(verification, "CHECKS", CHECKS[:5])


def run(*arguments):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(command, words, standalone_mode=False)


def test_a_right_backend_passes(file):
    result = run(f"{file}:Right", "--option", "lanes=4")
    assert result.return_value == 0, result.output
    assert "right(lanes=4): 8 x 8 bits, 32-bit accumulator, overflow: wrap" in result.stdout
    assert " 0 failed" in result.stdout
    assert all(check.name in result.stdout for check in CHECKS if check not in routes.CHECKS)
    assert result.stdout.count("has no fused route") == 1
    assert f"route_* ({len(routes.CHECKS)})" in result.stdout
    assert "\x1b" not in result.output
    assert "27 shapes" not in result.stdout


def test_details_are_what_every_check_found(file):
    result = run(f"{file}:Right", "--details")
    assert all(check.name in result.stdout for check in CHECKS if check not in routes.CHECKS)
    assert "27 shapes" in result.stdout
    assert result.stdout.count("has no fused route") == 1


def test_the_root_of_failures_comes_first_and_what_may_follow_is_named(file):
    shown = run(f"{file}:Wrong").stdout
    root, _, rest = shown.partition("  May follow from it, so mend it first: ")
    assert "small_shapes failed" in root or "extreme_digits failed" in root
    named = rest.partition("\n\n")[0]
    assert "accumulator_bound" in named
    assert "accumulator_bound failed" not in shown
    rows = json.loads(run(f"{file}:Wrong", "--format", "json").stdout)
    (bound,) = (row for row in rows if row["check"] == "accumulator_bound")
    assert bound["may_follow_from"] in ("small_shapes", "extreme_digits")


def test_a_wrong_backend_fails_with_an_explanation_and_junit(file, tmp_path):
    junit = tmp_path / "junit.xml"
    result = run(f"{file}:Wrong", "--junit", junit)
    assert result.return_value == 1
    assert "every digit of A -128, of B -128: 30 of 30 entries differ, first at (0, 0)" in " ".join(
        result.stdout.split()
    )
    assert "Traceback" not in result.output
    suite = ElementTree.parse(junit).getroot()
    assert suite.get("tests") == str(len(CHECKS))
    failed = {case.get("name") for case in suite if case.find("failure") is not None}
    assert "extreme_digits" in failed
    assert suite.get("failures") == str(len(failed))
    skipped = {case.get("name") for case in suite if case.find("skipped") is not None}
    assert suite.get("skipped") == str(len(skipped))
    assert "cost" in skipped


@pytest.mark.usefixtures("few_checks")
def test_tracebacks_are_shown_on_demand_only(file, capsys):
    for debug in ([], ["--debug"]):
        with pytest.raises(SystemExit) as end:
            cli.main(["verify", f"{file}:Wrong", *debug])
        assert end.value.code == 1
        assert ("Traceback" in capsys.readouterr().err) == bool(debug)


@pytest.mark.usefixtures("few_checks")
def test_json(file):
    result = run(f"{file}:Wrong", "--format", "json")
    assert result.return_value == 1
    rows = json.loads(result.stdout)
    assert [row["check"] for row in rows] == [check.name for check in CHECKS[:5]]
    failed = {row["check"]: row["found"] for row in rows if row["result"] == "failed"}
    assert "the smallest that is wrong: A = [[1]], B = [[-128]]" in failed["extreme_digits"]


@pytest.mark.usefixtures("few_checks")
def test_flags_of_the_backend(file):
    result = run(f"{file}:Right", "--rtl")
    assert result.return_value == 1
    assert "1 lanes" in result.stdout
    assert "3 of 9 outputs differ" in result.stdout
    shown = " ".join(run(f"{file}:Right", "--help").output.split())
    assert "Simulate the circuit. [right]" in shown


def test_a_flag_that_this_backend_does_not_have(file):
    result = run("int64", "--rtl", "--junit", f"{file}:Right")
    assert isinstance(result.exception, InputError)
    assert "unknown flag '--rtl' (known: none) of backend 'int64'" in str(result.exception)


def test_an_unavailable_backend_cannot_be_verified(file):
    result = run(f"{file}:Elsewhere")
    assert isinstance(result.exception, NothingCouldRunError)
    assert result.exception.exit_code == 3
    assert "elsewhere cannot run here: no such chip" in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["int46"], "unknown backend 'int46'; did you mean 'int64'?"),
        (["emulator", "--option", "bits"], "--option needs KEY=VALUE, got 'bits'"),
        (["emulator", "--option", "bits=[4"], "--option bits=[4: not valid YAML: "),
        (["emulator", "--option", "bit=4"], "unknown option 'bit'; did you mean 'bits'?"),
        (["emulator", "--option", "bits=40"], "bits must be from 2 to 16"),
        (
            ["int64", "--junit", "/no/such/folder/x.xml"],
            "cannot write /no/such/folder/x.xml: there is no folder /no/such/folder",
        ),
    ],
)
def test_wrong_calls(arguments, message):
    result = run(*arguments)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)


@pytest.mark.parametrize(
    ("text", "value"),
    [("on", "on"), ("010", 10), ("1e-3", 1e-3), ("[4, no]", [4, "no"]), ("", None)],
)
def test_options_are_read_as_a_config_is(text, value):
    assert parsed_option(f"key={text}") == ("key", value)


def test_routes_take_one_line_only_where_all_are_skipped_for_one_reason():
    names = [check.name for check in routes.CHECKS]
    skipped = [Outcome(name, "skipped", "none", 0.5) for name in names]
    around = [Outcome("memory", "passed"), Outcome("rtl", "failed")]
    (before, one, after) = folded([around[0], *skipped, around[1]])
    assert [before, after] == around
    assert (one.detail, one.seconds) == ("none", len(names) / 2)
    for other in (Outcome(names[1], "passed", "none"), Outcome(names[1], "skipped", "no graphs")):
        found = [skipped[0], other, *skipped[2:]]
        assert folded(found) == found
    assert folded(around) == around
