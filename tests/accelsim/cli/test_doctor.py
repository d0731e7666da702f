"""``accelsim doctor``: facts, what runs, and what is missing."""

import csv
import importlib.metadata
import io
import json

import pytest
import torch
from click.testing import CliRunner
from packaging.requirements import Requirement

from accelsim.cli.doctor import command
from accelsim.plugins.extras import PURPOSES, how_to_install
from accelsim.plugins.registry import Registry
from gemm_backends import (
    Accumulator,
    Action,
    GemmBackend,
    Outcome,
    backend_class,
    list_backends,
    loading,
    register,
)
from gemm_backends.baselines import list_baselines


def run(*arguments, columns=1000):
    runner = CliRunner(env={"COLUMNS": str(columns)})
    result = runner.invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
    return result.stdout


def test_it_says_what_this_machine_is_and_can_run():
    text = run()
    assert torch.__version__ in text
    assert f"{torch.get_num_threads()} torch threads" in text
    for name in (*list_backends(), *list_baselines()):
        assert f"│ {name} " in text
    assert "\x1b" not in text


def test_it_fits_the_width():
    assert max(map(len, run(columns=80).splitlines())) <= 80


def test_missing_extras_come_with_their_command(monkeypatch):
    true_version = importlib.metadata.version

    def version(name):
        if name == "hypothesis":
            raise importlib.metadata.PackageNotFoundError(name)
        return true_version(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    text = run()
    assert f"needs hypothesis>=6.100: {how_to_install('test')}" in text
    requirements = map(Requirement, importlib.metadata.requires("accelsim"))
    oldest = {
        item.name: next((bound.version for bound in item.specifier if bound.operator == ">="), "1")
        for item in requirements
    }
    monkeypatch.setattr(importlib.metadata, "version", oldest.__getitem__)
    assert "pip install" not in run().partition("Extras")[2]


def test_every_extra_says_what_it_is_for():
    extras = importlib.metadata.metadata("accelsim").get_all("Provides-Extra")
    assert set(PURPOSES) < set(extras)
    lines = run().partition("Extras (optional: install what you need)")[2].splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in lines if "│" in line]
    assert [name for name, _ in rows[: len(PURPOSES)]] == list(PURPOSES)
    assert sorted(name for name, _ in rows) == sorted(extras)
    assert all(purpose == PURPOSES.get(name, "developing accelsim") for name, purpose in rows)


@pytest.fixture
def buildable(monkeypatch):
    """A backend that adds a flag."""
    fresh = Registry("backend", "accelsim.backends", GemmBackend)
    monkeypatch.setattr(loading, "registry", fresh)

    @register
    class Buildable(GemmBackend):
        name, bits, accumulator = "buildable", 8, Accumulator(32, "wrap")

        def matmul(self, a, b):
            return a.long() @ b.long().T

        @classmethod
        def actions(cls):
            def build(backend):
                yield Outcome("compile", "passed", f"{backend.name} in 3 s")

            return [Action("doctor", "build", "Compile the kernels.", build)]


@pytest.mark.usefixtures("buildable")
def test_flags_of_backends():
    assert "buildable in 3 s" not in run()
    assert "buildable in 3 s" in run("--build")
    assert "--build Compile the kernels. [buildable]" in " ".join(run("--help").split())


@pytest.mark.usefixtures("buildable")
def test_the_same_as_rows():
    rows = [
        {key: value for key, value in row.items() if value is not None}
        for row in json.loads(run("--build", "--format", "json"))
    ]
    sections = dict.fromkeys(row["section"] for row in rows)
    assert [*sections] == ["This machine", "Backends", "Baselines", "Extras", "--build"]
    assert {
        "section": "--build",
        "backend": "buildable",
        "step": "compile",
        "result": "passed",
        "detail": "buildable in 3 s",
    } in rows
    lines = list(csv.DictReader(io.StringIO(run("--format", "csv"))))
    assert {"fact": "torch"}.items() <= lines[2].items()


@pytest.mark.usefixtures("buildable")
def test_a_step_that_fails_is_exit_1(monkeypatch):
    def build(backend):
        raise RuntimeError("no compiler")
        yield

    action = Action("doctor", "build", "Compile the kernels.", build)
    monkeypatch.setattr(backend_class("buildable"), "actions", classmethod(lambda cls: [action]))
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(command, ["--build"], standalone_mode=False)
    assert "raised RuntimeError: no compiler" in result.stdout
    assert result.return_value == 1
