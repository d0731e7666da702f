"""Help, usage errors and completion import no heavy package: they answer at once."""

import json
import subprocess
import sys

import pytest

import accelsim
import gemm_backends
from gemm_backends import backend_class, list_backends
from gemm_backends.actions import added_actions

HEAVY = ("torch", "numpy", "scipy", "transformers", "matplotlib", "pydantic", "yaml", "numba")

PROBE = """
import contextlib, io, json, os, sys
import click

import accelsim
assert accelsim.__version__ in accelsim.__dict__.values() and "quantize_" in dir(accelsim)

from accelsim.cli import cli, main

def paths(command, path):
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from paths(command.get_command(context, name), [*path, name])

def call(arguments):
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main(arguments)
        except SystemExit as end:
            return end.code, out.buffer.getvalue().decode()

found = []
for path in paths(cli, []):
    for last, code in (("--help", 0), ("--no-such-option", 2)):
        if path == ["lm-eval"] and code:
            continue  # passes what it does not know on to the harness
        arguments = [*path, last]
        status, text = call(arguments)
        assert status == code, (arguments, status, text)
        found.append((arguments, [name for name in HEAVY if name in sys.modules], text))
status, text = call(["--version"])
assert status == 0 and accelsim.__version__ in text
found.append((["--version"], [name for name in HEAVY if name in sys.modules], text))
completion = {"_ACCELSIM_COMPLETE": "bash_complete", "COMP_CWORD": "2"}
for words in ("accelsim verify --", "accelsim workloads s", "accelsim export x --"):
    os.environ.update(completion, COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    status, text = call([])
    found.append((words.split(), [name for name in HEAVY if name in sys.modules], text))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def answers():
    """What every command prints for help and for a wrong option, and what it imported so far."""
    probe = f"HEAVY = {HEAVY!r}\n{PROBE}"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [(tuple(words), heavy, text) for words, heavy, text in json.loads(done.stdout)]


def test_nothing_heavy_is_imported(answers):
    assert len(answers) > 50
    assert [(words, heavy) for words, heavy, _ in answers if heavy] == []


def test_the_help_is_whole(answers):
    texts = {words: " ".join(text.split()) for words, _, text in answers}
    assert "--rtl Compare with simulated hardware in SystemVerilog" in texts["verify", "--help"]
    assert "[cutlass-int4, cutlass-int8]" in texts["doctor", "--help"]
    assert "[csv|scalesim|zigzag|accelforge]" in texts["export", "--help"]
    assert "--digits [paper|balanced]" in texts["break-even", "--help"]
    assert "[table|csv|json|markdown|latex]" in texts["workloads", "show", "--help"]
    assert "No such option" in texts["verify", "--no-such-option"]
    assert "plain,--rtl" in texts["accelsim", "verify", "--"]
    assert "plain,stats" in texts["accelsim", "workloads", "s"]
    assert "plain,--digits" in texts["accelsim", "export", "x", "--"]


def test_the_probe_sees_an_import():
    code = f"""
import sys
from accelsim.cli import main
try:
    main(["workloads", "list"])
except SystemExit:
    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "'torch'" in done.stderr


def test_a_run_does_without_the_tests_of_statistics():
    """They take as long to import as PyTorch."""
    code = (
        "import sys, accelsim.cli.run, accelsim.runner, accelsim.report.summary\n"
        "print([name for name in ('torch', 'scipy.stats') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['torch']\n"


def test_flags_of_the_shipped_backends_are_all_entry_points():
    """Help reads them there and does not ask the classes."""
    names = list_backends()
    assert [name for name in names if [*backend_class(name).actions()]] == []
    flags = {(name, action.flag) for name in names for action in added_actions(name)}
    assert flags >= {("emulator", "rtl"), ("emulator", "area"), ("cutlass-int8", "build")}


@pytest.mark.parametrize("package", [accelsim, gemm_backends])
def test_every_name_of_a_lazy_package_is_there(package):
    assert {*package.__all__} <= {*dir(package)}
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert len({*package.__all__}) == len(package.__all__)
    with pytest.raises(AttributeError, match=r"has no attribute 'nothing'"):
        package.nothing  # noqa: B018
