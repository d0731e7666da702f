"""A process per backend, so that a crash, a hang or a leak costs one record and not the run."""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from accelsim.config import RunConfig
from accelsim.records import Record, Status
from accelsim.records.record import Minimised
from accelsim.runner.cases import Case
from accelsim.runner.makers.job import Job
from accelsim.runner.makers.worker import serve

_POLL_S = 0.02
_START_S = 300.0


@dataclass(frozen=True)
class Limits:
    """Limits on one record.

    Parameters
    ----------
    seconds : float
        From the request for it to its arrival, warm-up and verdict included.
    memory_bytes : int or None
        Resident memory of the process; None for nine tenths of what is free when it starts.
    """

    seconds: float = 600.0
    memory_bytes: int | None = None


class _LostError(Exception):
    """A process gave no answer; the message says why."""

    def __init__(self, reason: str, status: Status = Status.ERROR, retry: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.retry = retry


class Isolated:
    """Makes records in one process for each backend; see `Maker`.

    Parameters
    ----------
    limits : Limits
        Limits on one record.
    config : RunConfig
        What is run; each process loads it again.
    """

    is_here = True

    def __init__(self, limits: Limits, config: RunConfig) -> None:
        self._job, self._limits = Job.of(config), limits
        self._workers: dict[str, _Worker] = {}

    def facts(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def records(self, cases: Sequence[Case]) -> Iterator[tuple[Case, Record]]:
        """Make the records in the order of their cases."""
        for case in cases:
            yield case, self._record(case)

    def _record(self, case: Case) -> Record:
        """Ask the backend's process for a record; if there comes none, say why in one."""
        try:
            try:
                return self._ask(case)
            except _LostError as lost:
                if not lost.retry:
                    raise
                return self._ask(case)  # earlier records may have leaked the memory
        except _LostError as lost:
            return Record(**case.fields, status=lost.status, reason=str(lost))

    def _ask(self, case: Case) -> Record:
        request = {"do": "record", "case": case.number}
        record: Record = self._send(case, request, Record.model_validate)
        return record

    def minimise(self, case: Case, entry: tuple[int, ...], folder: Path) -> Minimised | None:
        """Ask for the smallest GEMM that shows a mismatch; None if the process does not survive."""
        request = {
            "do": "minimise",
            "case": case.number,
            "entry": entry,
            "folder": str(folder),
        }
        try:
            found: Minimised | None = self._send(
                case, request, lambda answer: answer and Minimised.model_validate(answer)
            )
        except _LostError:
            return None
        return found

    def peak(self, case: Case) -> float | None:
        """Ask the backend's process how fast it multiplies; None if it does not survive."""
        try:
            found = self._send(case, {"do": "peak", "case": case.number}, lambda x: x)
        except _LostError:
            return None
        return float(found) if found is not None else None

    def _send(self, case: Case, request: dict[str, object], read: Callable[[Any], Any]) -> Any:
        key = case.choice.key
        worker = self._workers.get(key)
        if worker is None:
            worker = self._workers[key] = _Worker(self._job, case.backend.name)
        try:
            return read(worker.ask(request, self._limits))
        except ValidationError as error:
            raise _LostError(
                f"the process of {case.backend.name} sent no record: {error}"
            ) from None
        except _LostError:
            del self._workers[key]
            worker.stop()
            raise

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers.values():
            worker.stop()
        self._workers.clear()


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, job: Job, backend: str) -> None:
        self._backend = backend
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=serve,
            args=(theirs, job),
            name=f"accelsim {backend}",
            daemon=True,
        )
        self._process.start()
        theirs.close()
        self._allowed = int(0.9 * _free_memory())
        self._answers = 0
        self._ready = False

    def ask(self, request: dict[str, object], limits: Limits) -> object:
        if not self._ready:
            self._wait(Limits(_START_S, limits.memory_bytes), "start")
            self._ready = True
        try:
            self._pipe.send_bytes(json.dumps(request).encode())
        except OSError:
            raise self._died() from None
        answer = self._wait(limits, "end")
        self._answers += 1
        return answer

    def _wait(self, limits: Limits, what: str) -> object:
        deadline = time.monotonic() + limits.seconds
        allowed = limits.memory_bytes or self._allowed
        while not self._pipe.poll(_POLL_S):
            used = _resident_memory(self._process.pid)
            if used > allowed:
                raise _LostError(
                    f"the process of {self._backend} held {used / 2**30:.2f} GiB of memory, "
                    f"more than the {allowed / 2**30:.2f} GiB that it may",
                    retry=self._answers > 0,
                )
            if time.monotonic() > deadline:
                raise _LostError(f"did not {what} within {limits.seconds:g} s", Status.TIMEOUT)
        try:
            return json.loads(self._pipe.recv_bytes())
        except (EOFError, OSError):
            raise self._died() from None
        except ValueError:
            raise _LostError(f"the process of {self._backend} sent no record") from None

    def _died(self) -> _LostError:
        self._process.join(timeout=10)
        code = self._process.exitcode
        who = f"the process of {self._backend}"
        if code is None or code >= 0:
            return _LostError(f"{who} ended with exit status {code}")
        name = signal.Signals(-code).name
        words = signal.strsignal(-code) or name
        hint = ", as the kernel does when memory runs out" if name == "SIGKILL" else ""
        return _LostError(f"{who} was ended by {name} ({words}){hint}")

    def stop(self) -> None:
        self._pipe.close()
        self._process.kill()
        self._process.join()


def _resident_memory(pid: int | None) -> int:
    """Return the resident bytes of a process, 0 once it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return _kib(text, "VmRSS:")


def _free_memory() -> int:
    return _kib(Path("/proc/meminfo").read_text(), "MemAvailable:")


def _kib(text: str, key: str) -> int:
    """Return the value of a ``/proc`` line in bytes."""
    found = [line.split()[1] for line in text.splitlines() if line.startswith(key)]
    return 1024 * int(found[0]) if found else 0
