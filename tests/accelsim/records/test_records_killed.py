"""A writer that is really killed loses nothing that it had recorded."""

import signal
import subprocess
import sys

from accelsim.records import RunFolder, load_run, record_key

WRITER = """
import sys
from accelsim.records import Record, RunFolder, folder as module

module._session = dict
with RunFolder.open(sys.argv[1], {}, "hash", resume=True) as folder:
    done = {record.gemm for record in folder.records}
    for index in range(10_000):
        gemm = f"gemm {index} " + "x" * (index % 97)
        if gemm not in done:
            folder.append(Record(
                workload="w", gemm=gemm, op="linear", phase="forward", n=1, d=1, h=1,
                percentile=95, beta=31, granularity="tensor", bits=4, strategy="mix",
                digits="balanced", backend="emulator", status="error", reason="none",
            ))
            print(gemm, flush=True)
"""


def kill_after(path, count):
    """Start a writer, kill it after `count` new records and return what it said it had written."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        written = [writer.stdout.readline().strip("\n") for _ in range(count)]
        writer.send_signal(signal.SIGKILL)
        written += writer.stdout.read().splitlines()
    assert writer.returncode == -signal.SIGKILL
    return written


def test_records_survive_sigkill_and_none_is_twice(tmp_path):
    written = []
    for count in (1, 40, 7):
        written += kill_after(tmp_path / "run", count)
        found = [record.gemm for record in load_run(tmp_path / "run").records]
        assert found[: len(written)] == written
        # One more may be on the disk than was said before the kill.
        assert len(found) <= len(written) + 1
        written = found
    with RunFolder.open(tmp_path / "run", {}, "hash", resume=True) as folder:
        keys = [record_key(record) for record in folder.records]
        assert len(set(keys)) == len(keys)
        assert len(folder.records) >= 48
