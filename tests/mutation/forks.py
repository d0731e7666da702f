"""Tests in forked processes, in which one module of the project may be another one.

The parent imports what is large and not under test, once, and nothing of the project.
"""

import ast
import json
import os
import re
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path

PRELOADED = ("numpy", "torch", "hypothesis", "pytest", "numba", "pydantic", "safetensors.torch")
ALL_PASSED, NO_TEST = 0, 5
MEMORY = 6 * 2**30
"""Bytes that a child may have: a mutant may ask for any number of them."""


def preload() -> None:
    """Import what every child needs, on one thread."""
    for name in ("OMP", "MKL", "NUMBA"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    for name in PRELOADED:
        __import__(name)
    # What fails need not be made smaller.
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "mutation",
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        phases=[Phase.explicit, Phase.generate],
    )


def compile_again(file: Path, root: Path, cache: Path) -> None:
    """Let Numba take from its cache all but what a file compiles, and what may call that.

    Its cache knows neither constants nor what a function calls.
    """
    import numba

    shutil.copytree(numba.config.CACHE_DIR, cache)
    numba.config.CACHE_DIR = str(cache)
    compiled = [x for x in sources(root) if "njit" in x.read_text()]
    changed, found = {file.stem}, {file}
    while found:
        found = {x for x in compiled if x.stem not in changed and _imports(x, changed)}
        changed |= {x.stem for x in found}
    for kept in cache.rglob("*.nb?"):
        if kept.name.partition(".")[0] in changed:
            kept.unlink()


def sources(root: Path) -> list[Path]:
    """Return the modules of the project."""
    packages = ("accelsim", "gemm_backends", "workloads")
    return [file for package in packages for file in sorted((root / package).rglob("*.py"))]


def _imports(file: Path, stems: set[str]) -> bool:
    imported = re.findall(r"^(?:from|import) .*", file.read_text(), re.MULTILINE)
    return any(stems & set(re.findall(r"\w+", line)) for line in imported)


class _Changed(SourceFileLoader):
    """Runs another syntax tree in the place of a file."""

    def __init__(self, name: str, file: Path, tree: ast.Module) -> None:
        super().__init__(name, str(file))
        self._tree = tree

    def get_code(self, fullname):
        return compile(self._tree, self.path, "exec")


class Instead(MetaPathFinder):
    """Finds another syntax tree where a module of the project is imported."""

    def __init__(self, file: Path, root: Path, tree: ast.Module) -> None:
        parts = file.relative_to(root).with_suffix("").parts
        self._module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        self._file, self._tree = file, tree

    def find_spec(self, name, path=None, target=None):
        if name != self._module:
            return None
        loader = _Changed(name, self._file, self._tree)
        return spec_from_file_location(name, self._file, loader=loader)


class Seen:
    """A pytest plug-in: which tests reach which lines of files, and how long each test takes."""

    def __init__(self, files: Sequence[Path]) -> None:
        import coverage

        include = [str(file) for file in files]
        self._coverage = coverage.Coverage(data_file=None, include=include, config_file=False)
        self._files = include
        self.seconds: dict[str, float] = {}

    def start(self) -> None:
        self._coverage.start()
        self._coverage.switch_context("import")

    def pytest_runtest_setup(self, item):
        self._coverage.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration

    def lines(self) -> dict[str, dict[str, list[int]]]:
        """Return the lines of each file that each test reaches."""
        self._coverage.stop()
        data = self._coverage.get_data()
        found: dict[str, dict[str, list[int]]] = {}
        for file in self._files:
            reached = found.setdefault(file, {})
            for line, tests in data.contexts_by_lineno(file).items():
                for test in tests:
                    reached.setdefault(test, []).append(line)
        return found


def run_tests(tests: Sequence[str], plugins: Sequence[object] = ()) -> int:
    """Run tests in this process until one fails."""
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark"]
    options += ["--hypothesis-seed=0", "--hypothesis-profile=mutation"]
    return int(pytest.main([*options, *tests], plugins=list(plugins)))


def in_child(function: Callable[[], int], log: Path) -> int:
    """Start a process that ends with what a function returns; its output goes to a file."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    # Examples that fail on a mutant are no examples to remember.
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(log.with_suffix(".hypothesis"))
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    code = 70
    try:
        code = function()
    except BaseException as error:
        print(repr(error))
    sys.stdout.flush()
    os._exit(code)


def survey(files: Sequence[Path], tests: Sequence[str], scratch: Path) -> tuple[dict, dict]:
    """Return the lines of files that each test reaches, and the seconds of each test.

    Raises
    ------
    SystemExit
        If a test fails without any mutant.
    """
    import numba

    result, log = scratch / "survey.json", scratch / "survey.log"
    numba.config.CACHE_DIR = str(scratch / "numba")

    def look() -> int:
        seen = Seen(files)
        seen.start()
        code = run_tests(tests, [seen])
        result.write_text(json.dumps([seen.lines(), seen.seconds]))
        return code

    code = os.waitstatus_to_exitcode(os.waitpid(in_child(look, log), 0)[1])
    if code != ALL_PASSED:
        sys.exit(f"{log.read_text()[-3000:]}\n{', '.join(tests)}: they do not pass as they are")
    lines, seconds = json.loads(result.read_text())
    return lines, seconds


class Pool:
    """Children that run beside each other, each within a time of its own."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running: dict[int, tuple[float, Callable[[str], None]]] = {}

    def start(
        self, function: Callable[[], int], log: Path, limit: float, done: Callable[[str], None]
    ) -> None:
        """Start one when there is room; `done` is told "survived", "killed" or "timeout"."""
        while len(self._running) >= self._most:
            self._wait()
        child = in_child(function, log)
        self._running[child] = (time.monotonic() + limit, done)

    def finish(self) -> None:
        """Wait for all."""
        while self._running:
            self._wait()

    def _wait(self) -> None:
        for child, (limit, done) in list(self._running.items()):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                done("survived" if code in (ALL_PASSED, NO_TEST) else "killed")
            elif time.monotonic() > limit:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                done("timeout")
            else:
                continue
            del self._running[child]
            return
        time.sleep(0.02)
