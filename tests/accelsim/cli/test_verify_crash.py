"""``accelsim verify`` of a backend whose native code ends the process."""

import json
import subprocess
import sys

import pytest

BACKEND = """
import ctypes
import torch
from gemm_backends import Accumulator, Availability, GemmBackend

class Crashes(GemmBackend):
    name, bits, accumulator = "crashes", 8, Accumulator(32, "wrap")

    def availability(self):
        return Availability(True, execution="emulated")

    def matmul(self, a, b):
        if a.shape[1] == 13:
            ctypes.string_at(0)
        return (a.double() @ b.double().T).to(torch.int64).to(torch.int32)

class CrashesAtOnce(Crashes):
    def __init__(self):
        ctypes.string_at(0)
"""

PROGRAM = """
import sys
from accelsim.cli import main
import gemm_backends.conformance.verification as verification
verification.CHECKS = verification.CHECKS[:4]
main()
"""


@pytest.fixture
def verified(tmp_path):
    (tmp_path / "native.py").write_text(BACKEND)

    def run(name, *options):
        command = [sys.executable, "-c", PROGRAM, "verify", f"native.py:{name}", *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def test_a_crash_is_a_failure_of_its_check_and_the_others_still_run(verified):
    done = verified("Crashes", "--format", "json")
    assert done.returncode == 1, done.stderr
    rows = {row["check"]: row for row in json.loads(done.stdout)}
    assert [row["result"] for row in rows.values()] == ["passed", "failed", "passed", "passed"]
    found = rows["odd_shapes"]["found"]
    assert "ended the process by SIGSEGV" in found
    assert found.endswith("the last product begun: [7, 13] x [5, 13], product 1 of this check")


def test_a_crash_outside_of_any_check_is_told(verified):
    done = verified("CrashesAtOnce")
    assert (done.returncode, done.stdout) == (1, "")
    assert "native code ended the process by SIGSEGV" in done.stderr
    assert "outside of any check" in done.stderr
