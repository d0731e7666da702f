"""A process that runs checks and may crash, and the one that watches it and goes on after it."""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import sys
import tempfile
import time
from types import FrameType
from typing import IO

from accelsim.errors import AccelsimError
from gemm_backends.actions import Outcome

_NOTE_BYTES = 1 << 12
_POLL_S = 0.02
_LINE_S = 10.0
_TERMINAL_S = 0.5
_ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Survivor:
    """What the process that runs the checks leaves behind for the one that watches it.

    A process is forked before anything has started threads or a GPU; it runs the checks and
    prints the results. If it crashes, the check that it was in has failed, and another process
    goes on with the next one.
    """

    def __init__(self) -> None:
        self._note = mmap.mmap(-1, _NOTE_BYTES)
        self._written: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - for the whole run

    def fork(self) -> int | None:
        """Return None in the process that is to run the checks, and its status in the other one.

        Raises
        ------
        AccelsimError
            If it crashed outside of any check.
        """
        while True:
            self.note("", "")
            sys.stdout.flush()
            sys.stderr.flush()
            start = time.monotonic()
            child = os.fork()
            if child == 0:
                return None
            code = os.waitstatus_to_exitcode(self._watch(child))
            if code >= 0:
                return code
            if -code in _ASKED:
                return 128 - code
            name, where = self._noted()
            ended = f"{signal.Signals(-code).name} ({signal.strsignal(-code)})"
            if not name:
                raise AccelsimError(
                    f"native code ended the process by {ended} outside of any check"
                )
            words = f"native code ended the process by {ended}; the last product begun: {where}"
            taken = time.monotonic() - start
            self.keep(Outcome(name, "failed", words, taken, f"ended by {ended}"))

    def note(self, check: str, where: str) -> None:
        """Leave word of what is about to be done."""
        text = f"{check}\n{where}".encode()[: _NOTE_BYTES - 1]
        self._note[: len(text) + 1] = text + b"\0"

    def keep(self, outcome: Outcome) -> None:
        """Leave an outcome for a process that goes on after this one."""
        self._written.seek(0, os.SEEK_END)
        pickle.dump(outcome, self._written)
        self._written.flush()

    def kept(self) -> list[Outcome]:
        """Return the outcomes that earlier processes left."""
        self._written.seek(0)
        found = []
        while True:
            try:
                found.append(pickle.load(self._written))
            except EOFError:
                return found

    def _noted(self) -> tuple[str, str]:
        text = self._note[:].partition(b"\0")[0].decode(errors="replace")
        check, _, where = text.partition("\n")
        return check, where

    def _watch(self, child: int) -> int:
        """Wait for a process and say now and then what it is doing; return its wait status."""

        def pass_on(number: int, frame: FrameType | None) -> None:
            os.kill(child, number)

        before = {
            signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
            signal.SIGTERM: signal.signal(signal.SIGTERM, pass_on),
        }
        start = last = time.monotonic()
        every = _TERMINAL_S if sys.stderr.isatty() else _LINE_S
        try:
            while True:
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    return status
                time.sleep(_POLL_S)
                if (now := time.monotonic()) - last >= every:
                    last = now
                    self._say(now - start)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _say(self, seconds: float) -> None:
        check, where = self._noted()
        if not check:
            return
        line = f"accelsim: {seconds:.0f} s, {check}: {where}"
        if sys.stderr.isatty():
            print(f"\r\x1b[K{line[:79]}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
