"""Plug-ins that print, exit, fork and change the working directory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from forked import run_forked

from accelsim.plugins.guest import guest

BACKEND = """
import os, sys
{at_import}
from gemm_backends import Accumulator, GemmBackend

class Mine(GemmBackend):
    name, bits = "mine", 8
    accumulator = Accumulator(bits=64, overflow="wrap")

    def __init__(self):
        {in_constructor}

    def availability(self):
        {in_availability}
        return super().availability()

    def matmul(self, a, b):
        {in_matmul}
        return a.long() @ b.long().mT
"""
NOISE = "print('NOISE'); os.system('echo NOISE')"
FORK = "p = os.fork(); p and os.waitpid(p, 0)"
PLACES = ["at_import", "in_constructor", "in_availability", "in_matmul"]

CONFIG = """
name: c
workloads: [{synthetic: {n: 4, d: 8, h: 4, seed: 0}}]
quantize: {percentile: 95, beta: 15}
unpack: {bits: 8, strategy: row}
backends: [mine.py:Mine, int64]
timing: {repeats: 1, warmup: 0}
output: out
"""


def run(folder, *arguments, **code):
    """Run the command line in a folder with a plug-in that has some code in some places."""
    text = BACKEND.format(**dict.fromkeys(PLACES, "pass") | code)
    (folder / "mine.py").write_text(text)
    (folder / "c.yaml").write_text(CONFIG)
    return run_forked("-m", "accelsim", *arguments, cwd=folder)


def test_a_plugin_that_prints_forks_and_goes_away_breaks_no_run(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    code = f"{NOISE}; {FORK}; os.chdir({str(tmp_path / 'elsewhere')!r})"
    done = run(tmp_path, "run", "c.yaml", "--format", "json", **dict.fromkeys(PLACES, code))
    assert done.returncode == 0, done.stderr
    records = json.loads(done.stdout)
    assert [record["status"] for record in records] == ["ok", "ok"]
    assert "NOISE" in done.stderr
    assert (tmp_path / "out" / "records.jsonl").read_text().count("\n") == 2
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("place", "status", "statuses"),
    [
        ("in_constructor", 2, []),
        ("in_availability", 0, ["unavailable", "ok"]),
        ("in_matmul", 1, ["error", "ok"]),
    ],
)
def test_a_plugin_that_exits_is_only_broken(tmp_path, place, status, statuses):
    done = run(tmp_path, "run", "c.yaml", "--format", "json", **{place: "sys.exit(7)"})
    assert done.returncode == status, done.stderr
    assert "SystemExit" in done.stdout + done.stderr
    assert [record["status"] for record in json.loads(done.stdout or "[]")] == statuses


def test_what_is_put_back(tmp_path, capfd):
    here = Path.cwd()

    def disturb():
        with guest():
            print("one")
            os.system("echo two")
            os.chdir(tmp_path)
            raise KeyError

    print("before")
    with pytest.raises(KeyError):
        disturb()
    print("after")
    os.system("echo last")
    assert Path.cwd() == here
    out, err = capfd.readouterr()
    assert out.split() == ["before", "after", "last"]
    assert sorted(err.split()) == ["one", "two"]


def test_a_forked_process_ends_with_the_plugin(tmp_path):
    with guest():
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
    if child == 0:
        (tmp_path / "ran on").touch()
        os._exit(3)
    assert status == 0
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_gone_is_not_gone_back_to(tmp_path):
    code = (
        "import os, sys; from accelsim.plugins.guest import guest\n"
        "os.mkdir('gone'); os.chdir('gone'); os.rmdir(os.getcwd())\n"
        "with guest(): os.chdir(sys.argv[1])\n"
        "print('here')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "here\n"
