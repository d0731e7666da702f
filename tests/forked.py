"""Python processes that need not import PyTorch: forks of one that has imported it.

They are ``python -c CODE`` or ``python -m MODULE`` in a folder, and have imported nothing of the
project. Tests of what is imported, or of variables that are read when PyTorch is imported, start
Python itself.
"""

import json
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

SERVER = """
import json, os, runpy, sys
import click, numba, numpy, pydantic, rich.console, safetensors.torch, scipy.sparse, torch, yaml

def become(folder, name, what, arguments):
    for number, file in enumerate((os.devnull, folder + "/out", folder + "/err")):
        opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = [name, *arguments]
    if name == "-c":
        exec(what, {"__name__": "__main__"})
    else:
        sys.path[0] = os.getcwd()
        runpy.run_module(what, run_name="__main__", alter_sys=True)

for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(job["cwd"])
        os.environ.clear()
        os.environ.update(job["environment"])
        become(job["folder"], *job["command"])
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def run_forked(kind, what, *arguments, cwd=None):
    """Return what became of ``python -c CODE`` or ``python -m MODULE``, as `subprocess.run` does.

    Parameters
    ----------
    kind : str
        ``-c`` or ``-m``.
    what : str
        The code, or the name of the module.
    *arguments
        Follow it on the command line.
    cwd : Path, optional
        Where it runs; without one, where this process is.
    """
    server = _server()
    with tempfile.TemporaryDirectory() as folder:
        job = {
            "folder": folder,
            "cwd": str(cwd or Path.cwd()),
            "environment": dict(os.environ),
            "command": [kind, what, [*map(str, arguments)]],
        }
        print(json.dumps(job), file=server.stdin, flush=True)
        status = int(server.stdout.readline())
        out, err = ((Path(folder) / name).read_text() for name in ("out", "err"))
    return subprocess.CompletedProcess([kind, what, *arguments], status, out, err)


@cache
def _server():
    """Start the process that forks; it ends with this one, whose pipe it reads."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
