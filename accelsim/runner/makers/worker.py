"""The process of an isolated backend, which makes records on request."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from accelsim.runner.interrupts import SIGNALS
from accelsim.runner.makers.job import Job, Loaded

_PR_SET_PDEATHSIG = 1


def serve(pipe: Connection, job: Job) -> None:
    """Load a config, confirm it, and answer requests until the pipe is closed.

    Parameters
    ----------
    pipe : Connection
        Takes requests and gives answers, both JSON.
    job : Job
        What to load.
    """
    _become_a_child()
    loaded = Loaded(job)
    bench = loaded.bench
    pipe.send_bytes(b"null")
    with contextlib.suppress(EOFError):
        while True:
            request = json.loads(pipe.recv_bytes())
            case = loaded.cases[request["case"]]
            answer: Any
            if request["do"] == "record":
                answer = bench.record(case).to_dict()
            elif request["do"] == "peak":
                answer = bench.peak(case)
            else:
                found = bench.minimise(case, tuple(request["entry"]), Path(request["folder"]))
                answer = found and found.model_dump(mode="json")
            pipe.send_bytes(json.dumps(answer).encode())


def _become_a_child() -> None:
    """Die with the parent, leave Ctrl-C to it, and keep what backends print off its stdout."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    os.dup2(2, 1)
    faulthandler.enable()
    with contextlib.suppress(OSError):  # the kernel should end this process before the parent
        Path("/proc/self/oom_score_adj").write_text("1000")
