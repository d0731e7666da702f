"""The list of commands, which no command has to be loaded for."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from accelsim import cli
from accelsim.errors import InputError

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
