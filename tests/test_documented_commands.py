"""Every command that README, docs, examples and configs print can be started in a fresh copy."""

import shutil
from pathlib import Path

import click
import pytest
import torch
from documented import commands
from outside import ROOT

from accelsim.cli import cli, main

COMMANDS = commands()
WITH_CONFIG = [
    pytest.param(
        command,
        id=str(command),
        marks=pytest.mark.weights if "smollm2.yaml" in command.config else (),
    )
    for command in COMMANDS
    if command.config and not command.page.startswith("examples")
]

FIRST_WORK = {
    "run": "accelsim.runner.bench.CaseBench.record",
    "eval": "accelsim.parity.evaluation.evaluate",
    "train": "accelsim.parity.training.train",
}
"""What does the first work of a command once everything is read, checked and opened."""


class Started(BaseException):
    """The command has come to its work."""


def copied(folder):
    """Copy what is committed; folders that no command writes to are links."""
    shutil.copytree(ROOT / "results", folder / "results")
    for name in ("configs", "workloads", "docs"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A copy of the test's own, in which it is."""
    monkeypatch.chdir(copied(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory):
    """A copy that no test writes to."""
    return copied(tmp_path_factory.mktemp("clone"))


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def start(words, monkeypatch):
    """Carry out a command up to its first work; return whether it came there."""

    def work(*arguments, **options):
        raise Started

    def zeros(stream, shape, heavy, columns):
        return torch.zeros(shape)

    monkeypatch.setattr(FIRST_WORK[words[1]], work)
    # What large operands are drawn takes half a minute, and nothing here reads it.
    monkeypatch.setattr("workloads.synthetic._operand", zeros)
    try:
        main(list(words[1:]))
    except Started:
        return True
    except SystemExit:
        return False
    return False


@pytest.mark.parametrize("command", WITH_CONFIG)
def test_a_config_can_be_started(command, clone, monkeypatch, capfd):
    evidence = contents(clone / "results")
    assert start(command.words, monkeypatch), capfd.readouterr().err
    assert contents(clone / "results") == evidence


def test_every_config_is_started_by_a_command_that_is_printed():
    started = {Path(command.config).name for command in COMMANDS if command.config}
    assert started >= {path.name for path in (ROOT / "configs").glob("*.yaml")}


def test_an_output_that_is_there_is_found(clone, monkeypatch):
    shutil.copytree(clone / "results" / "design-space", clone / "runs" / "design-space")
    assert not start(("accelsim", "run", "configs/design-space.yaml"), monkeypatch)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_is_one_that_there_is(command, unchanged, monkeypatch):
    monkeypatch.chdir(unchanged)
    found, words = cli, list(command.words[1:])
    while isinstance(found, click.Group) and words:
        context = click.Context(found, info_name="accelsim")
        name, found, words = found.resolve_command(context, words)
        assert found is not None, name
    try:
        found.make_context(name, words)
    except click.MissingParameter:
        assert len(command.words) <= 3, "only the name of a command stands for the command"
    except click.exceptions.NoArgsIsHelpError:
        pass
