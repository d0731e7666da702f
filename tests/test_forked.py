"""Forked processes are what Python itself starts."""

import os
import signal
import subprocess
import sys

import pytest
from forked import run_forked

SHOWN = """
import os, sys
print(sys.argv, __name__, os.getcwd(), os.environ["SHOWN"], sys.stdin.read())
os.system("echo from a shell")
print("error", file=sys.stderr)
{end}
"""


@pytest.mark.parametrize(
    "end",
    ["", "sys.exit(7)", "sys.exit('why')", "os._exit(3)", "os.kill(os.getpid(), 9)", "1 / 0"],
)
@pytest.mark.parametrize("kind", ["-c", "-m"])
def test_it_does_what_python_does(tmp_path, monkeypatch, kind, end):
    monkeypatch.setenv("SHOWN", "ünï")
    code = SHOWN.format(end=end)
    (tmp_path / "shown.py").write_text(code)
    what = code if kind == "-c" else "shown"
    started = subprocess.run(
        [sys.executable, kind, what, "a", "b c"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    forked = run_forked(kind, what, "a", "b c", cwd=tmp_path)
    assert (forked.returncode, forked.stdout) == (started.returncode, started.stdout)
    assert forked.stderr.splitlines()[-1:] == started.stderr.splitlines()[-1:]


def test_nothing_is_left_of_the_one_before(tmp_path):
    code = "import accelsim, os; os.environ['LEFT'] = '1'; os.chdir('/')"
    assert run_forked("-c", code, cwd=tmp_path).returncode == 0
    code = (
        "import os, sys; assert 'LEFT' not in os.environ; print(os.getcwd())\n"
        "assert not [x for x in sys.modules if x.startswith(('accelsim', 'gemm_b', 'workloads'))]"
    )
    found = run_forked("-c", code, cwd=tmp_path)
    assert (found.returncode, found.stdout) == (0, f"{tmp_path}\n"), found.stderr


def test_without_a_folder_it_runs_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_forked("-c", "import os; print(os.getcwd())").stdout == f"{tmp_path}\n"
    code = "import os; os.kill(os.getpid(), 15)"
    assert run_forked("-c", code).returncode == -signal.SIGTERM
    assert "PATH" in os.environ
