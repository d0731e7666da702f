"""``accelsim backends``: what is listed, and in which formats."""

import csv
import io
import json
import re
from importlib.metadata import EntryPoint

import pytest
from click.testing import CliRunner

from accelsim.cli.backends import command
from accelsim.plugins import registry as registry_module
from accelsim.plugins.registry import Registry
from gemm_backends import GemmBackend, loading


def run(*arguments):
    result = CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
    assert result.exception is None
    return result.stdout


def test_json_lists_every_backend():
    rows = {row["name"]: row for row in json.loads(run("--format", "json"))}
    assert {"cpu-int8", "cuda-int8", "emulator", "int64"} <= set(rows)
    assert rows["int64"] == {
        "name": "int64",
        "available": "yes",
        "execution": "emulated",
        "device": "cpu",
        "bits": "16",
        "accumulator": "64-bit wrap",
        "reason": "",
    }


def test_all_formats_show_the_same():
    rows = [[*row.values()] for row in json.loads(run("--format", "json"))]
    read = [[*row.values()] for row in csv.DictReader(io.StringIO(run("--format", "csv")))]
    assert read == [[value or "" for value in row] for row in rows]
    expected = [["–" if value is None else value for value in row] for row in rows]
    markdown = run("--format", "markdown").splitlines()
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown[2:]] == expected
    table = run()
    assert "\x1b" not in table
    assert "emulated: something" in table
    for row in expected:
        assert re.search(r"\s+".join(re.escape(cell) for cell in row), table)


def test_what_cannot_run_here_is_not_said_to_run_in_some_way():
    for row in json.loads(run("--format", "json")):
        assert (row["execution"] is None) == (row["available"] == "no"), row


PLUGINS = """
from gemm_backends import Accumulator, Availability, GemmBackend

class Mixed(GemmBackend):
    name, bits, accumulator = "mixed", (4, 8), Accumulator(24, "saturate")
    def matmul(self, a, b): return a.long() @ b.long().T

class Probing(Mixed):
    name = "probing"
    def availability(self): raise OSError("no driver | no luck")

class Demanding(Mixed):
    name = "demanding"
    def __init__(self, lanes: int): ...
"""


@pytest.fixture
def plugins(monkeypatch, tmp_path):
    """Some installed plug-ins, of which only one is in order."""
    (tmp_path / "some_plugins.py").write_text(PLUGINS)
    monkeypatch.syspath_prepend(tmp_path)
    targets = {"mixed": "Mixed", "probing": "Probing", "demanding": "Demanding", "gone": "Gone"}
    entries = [
        EntryPoint(name, f"some_plugins:{target}", "accelsim.backends")
        for name, target in targets.items()
    ]
    monkeypatch.setattr(registry_module, "entry_points", lambda group: entries)
    fresh = Registry("backend", "accelsim.backends", GemmBackend)
    monkeypatch.setattr(loading, "registry", fresh)


@pytest.mark.usefixtures("plugins")
def test_broken_plugins_are_listed_with_their_errors():
    rows = {row["name"]: row for row in json.loads(run("--format", "json"))}
    assert rows["mixed"]["available"] == "yes"
    assert rows["mixed"]["bits"] == "4 x 8"
    for name, message in {
        "probing": "availability() raised OSError: no driver",
        "demanding": "needs the option 'lanes'",
        "gone": "entry point 'some_plugins:Gone') cannot be loaded: AttributeError",
    }.items():
        assert rows[name]["available"] == "broken"
        assert message in rows[name]["reason"]
    assert "no driver \\| no luck" in run("--format", "markdown")
    assert "4 x 8" in run()
