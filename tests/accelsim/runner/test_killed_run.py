"""100 SIGKILLs of a run of 200 records, resumed each time: the records of an undisturbed run.

The runs are started by forking a process that has imported everything, which saves 100 imports of
PyTorch; from the fork on they are ``accelsim run CONFIG --resume``.
"""

import json
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from accelsim.records import load_run, record_key

KILLS = 100
RECORDS = 200

CONFIG = """\
workloads:
  - synthetic: {n: 9, d: 16, h: 7, seed: 0, heavy_hitters: {fraction: 0.02, scale: 50}}
  - synthetic: {n: 8, d: 40, h: 5, seed: 1}
quantize: {beta: [5, 15, 31, 63, 255]}
unpack: {bits: [3, 4, 5, 6, 8], strategy: [row, mix]}
backends: [int64, emulator]
timing: {repeats: 2, warmup: 0}
"""

SERVER = """
import os, sys
import accelsim.runner, accelsim.report.summary, gemm_backends.cpu.int64, gemm_backends.emulator
from accelsim.cli import main

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        sys.stdout = sys.stderr = open(os.devnull, "w")
        main(["run", *line.split()])
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""

VOLATILE = {
    "time_ms", "samples_ms", "baselines", "baseline_samples_ms", "timing", "tops", "effective_tops",
    "speedup_vs",
}  # fmt: skip
"""What two runs of the same config may differ in: times."""

pytestmark = pytest.mark.slow


class Server:
    """Starts runs and says how they ended."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, *arguments):
        print(*arguments, file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def wait(self):
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.process.stdin.close()
    server.process.wait()


def count(folder):
    with suppress(FileNotFoundError):
        return (folder / "records.jsonl").read_bytes().count(b"\n")
    return 0


def kill_after(pid, folder, records, seconds):
    """Kill a run when it has written so many more records, and some time later."""
    wanted = count(folder) + records
    deadline = time.monotonic() + 60
    while count(folder) < wanted and time.monotonic() < deadline:
        time.sleep(0.0005)
    time.sleep(seconds)
    subprocess.run(["kill", "-KILL", str(pid)], check=False, stderr=subprocess.DEVNULL)


def plain(folder):
    """Return the records of a run by key, without their times."""
    records = load_run(folder).records
    found = {
        record_key(record): {k: v for k, v in record.to_dict().items() if k not in VOLATILE}
        for record in records
    }
    assert len(found) == len(records), "a record is there twice"
    return found


def test_a_hundred_kills_change_nothing(server, tmp_path):
    (tmp_path / "run.yaml").write_text(CONFIG)
    config, undisturbed, killed = (tmp_path / name for name in ("run.yaml", "once", "often"))
    server.start(config, "--output", undisturbed)
    assert server.wait() == 0
    expected = plain(undisturbed)
    assert len(expected) == RECORDS

    chance = random.Random(0)
    before, torn, without_progress = [], 0, 0
    for _ in range(KILLS):
        pid = server.start(config, "--output", killed, "--resume")
        # No more than 200 records in 100 lives: some lives end while the folder is being opened.
        kill_after(pid, killed, chance.choice((0, 0, 1, 1, 2, 3)), chance.uniform(0, 0.02))
        assert server.wait() == signal.SIGKILL
        if killed.exists():
            data = (killed / "records.jsonl").read_bytes() if count(killed) else b""
            torn += bool(data) and not data.endswith(b"\n")
            whole = data[: data.rfind(b"\n") + 1].splitlines()
            assert whole[: len(before)] == before, "a record that was there is gone or changed"
            without_progress += len(whole) == len(before)
            before = whole
    assert 0 < len(before) < RECORDS, "the kills must come while there is work left"
    assert without_progress < KILLS - 20

    server.start(config, "--output", killed, "--resume")
    assert server.wait() == 0
    assert plain(killed) == expected
    run = json.loads((killed / "run.json").read_text())
    unfinished = [session["end"] is None for session in run["sessions"]]
    assert unfinished[-1] is False
    assert sum(unfinished) <= KILLS
