"""The list of commands, which no command has to be loaded for, and what they have in common."""

import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

import accelsim
from accelsim import cli
from accelsim.errors import InputError
from accelsim.report.tables import FORMATS

LOADED = """
import sys
from accelsim import cli
try:
    cli.main(["--help"])
except SystemExit as end:
    heavy = "torch", "numba", "scipy", "pydantic"
    print(end.code, [name for name in heavy if name in sys.modules])
"""


def test_help_loads_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)
    assert done.stdout.endswith("0 []\n"), done.stdout + done.stderr
    assert all(f"  {name} " in done.stdout for name in cli.COMMANDS)


def test_an_unknown_command_has_a_suggestion():
    done = CliRunner().invoke(cli.cli, ["rum"])
    assert isinstance(done.exception, InputError)
    with pytest.raises(InputError, match="unknown command 'rum'; did you mean 'run'"):
        raise done.exception


def every_command(group=cli.cli, path=("accelsim",)):
    """Yield every command with its name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from every_command(found, (*path, name))
        else:
            yield " ".join((*path, name)), found


COMMANDS = dict(every_command())
OPTIONS = [
    pytest.param(option, id=f"{name} {option.opts[-1]}")
    for name, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option)
]


def test_all_commands_are_looked_at():
    assert {"accelsim run", "accelsim workloads stats", "accelsim config copy"} <= COMMANDS.keys()


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_means_the_same_everywhere(option):
    if "--output" in option.opts:
        assert "-o" in option.opts
    if "--format" in option.opts:
        assert list(option.type.choices) == list(FORMATS)
    if "--beta" in option.opts:
        assert option.multiple
    if option.multiple:
        assert re.search("may be repeated|GLOB|NAME|=", f"{option.help} {option.metavar}")


def printed(arguments, capsys, code=0):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert (end.value.code or 0) == code
    return capsys.readouterr()


def test_a_wrong_call_is_told_as_all_other_mistakes_are(capsys):
    assert printed(["run"], capsys, 2) == (
        "", "accelsim: Missing argument 'CONFIG'. (see accelsim run --help)\n"
    )  # fmt: skip
    error = printed(["run", "x", "--formt", "csv"], capsys, 2).err
    assert error.startswith("accelsim: No such option '--formt'")
    assert error.endswith("(see accelsim run --help)\n")


def test_the_help_of_lm_eval_is_that_of_what_accelsim_adds(capsys):
    for arguments in (["lm-eval"], ["lm-eval", "--help"], ["lm-eval", "-h"]):
        text = printed(arguments, capsys).out
        for word in ("--model accelsim", "pretrained", "beta, percentile", "--require-coverage"):
            assert word in text


def test_the_package_lists_what_users_call():
    assert dir(accelsim) == sorted(accelsim.__all__)
    assert all(hasattr(accelsim, name) for name in accelsim.__all__)


def test_a_backend_has_its_options_in_parentheses(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = [
        "run",
        "quickstart",
        "--set",
        "workloads={synthetic: {n: 4, d: 4, h: 4}}",
        "--format=csv",
    ]
    small = ["--set", "quantize.beta=15", "--set", "unpack.bits=4", "--set", "product=none"]
    array = "emulator(array=(8, 16), accumulator_bits=24)"
    out = printed([*run, *small, "--backend", array, "-o", "a"], capsys).out
    assert "[8, 16]" in out
    error = printed([*run, *small, "--backend", "emulator(arr=1)", "-o", "b"], capsys, 2).err
    assert "--backend emulator(arr=1): backend 'emulator': unknown option 'arr'" in error
    error = printed([*run, *small, "--backend", "emulator(8)", "-o", "b"], capsys, 2).err
    assert "expected NAME or NAME(KEY=VALUE, ...)" in error
