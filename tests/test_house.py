"""The house: tests that pytest can tell apart, few loose modules, imports that go one way."""

import subprocess
import sys
from collections import Counter

import pytest
from outside import ROOT


def test_no_two_test_modules_have_one_name():
    names = Counter(
        path.name for path in (ROOT / "tests").rglob("test_*.py") if "benchmarks" not in path.parts
    )
    twice = sorted(name for name, count in names.items() if count > 1)
    assert not twice, "pytest imports only one of them"


def test_few_modules_lie_loose_in_accelsim():
    loose = sorted(path.name for path in (ROOT / "accelsim").glob("*.py"))
    assert len(loose) <= 8, loose


def test_the_import_contracts_hold():
    pytest.importorskip("importlinter", reason="it comes with accelsim[dev]; .ci/run calls it")
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
