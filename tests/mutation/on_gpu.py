"""Mutation testing of the CUDA kernels: ``python tests/mutation/on_gpu.py [--compile]``.

Each mutant of ``gpu.toml`` is a change of one kernel; its tests run on a copy of the checkout that
has it, and all of them on an unchanged copy. The command ends with 1 where one survives. All are
compiled for Hopper first; with ``--compile`` that is all, which needs no GPU.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from accelsim.kernels.nvcc import CudaSource

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CSRC = Path("accelsim", "kernels", "csrc")
COPIED = ("accelsim", "gemm_backends", "workloads", "tests", "pyproject.toml")
ARCHITECTURE = "sm_90a"
LIMIT = 240
"""Seconds for the tests of one mutant."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/mutation/on_gpu.py", description=__doc__)
    parser.add_argument("--compile", action="store_true", help="compile them and do no more")
    parser.add_argument("--jobs", type=int, default=6, help="mutants tried beside each other")
    arguments = parser.parse_args()
    mutants = tomllib.loads((HERE / "gpu.toml").read_text())["mutant"]
    for mutant in mutants:
        changed(mutant)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(compile_for, [{}, *mutants]))
    if arguments.compile:
        return 0
    everything = {"tests": sorted({test for mutant in mutants for test in mutant["tests"]})}
    with ThreadPoolExecutor(arguments.jobs) as pool:
        codes = list(pool.map(attempt, [everything, *mutants]))
    for mutant, code in zip(mutants, codes[1:], strict=True):
        outcome = "survived" if code == 0 else "killed" if code == 1 else f"ended with {code}"
        print(f"{outcome}: {mutant['file']}: {mutant['before']} => {mutant['after']}")
    print(f"{codes.count(1)} of {len(mutants)} killed; without any the tests end with {codes[0]}")
    return int(codes != [0] + [1] * len(mutants))


def changed(mutant: dict) -> str:
    """Return the text of a mutant's file.

    Raises
    ------
    SystemExit
        If what is to be changed is not there exactly once.
    """
    text = (ROOT / CSRC / mutant["file"]).read_text()
    if text.count(mutant["before"]) != 1:
        sys.exit(f"{mutant['file']} does not hold this once: {mutant['before']}")
    return text.replace(mutant["before"], mutant["after"])


def compile_for(mutant: dict) -> None:
    """Compile the kernels that a mutant changes, or all as they are, without any."""
    with tempfile.TemporaryDirectory() as folder:
        csrc = Path(folder, "csrc")
        shutil.copytree(ROOT / CSRC, csrc)
        if mutant:
            (csrc / mutant["file"]).write_text(changed(mutant))
        every = sorted(path.name for path in csrc.glob("*.cu"))
        names = mutant.get("sources", [mutant["file"]]) if mutant else every
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda name: _build(csrc / name), names))


def _build(source: Path) -> None:
    CudaSource(source, cutlass=source.name.startswith("sm")).build(ARCHITECTURE)


def attempt(mutant: dict) -> int:
    """Run tests on a copy of the checkout with a change, and return how they ended."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, root / name)
        if "file" in mutant:
            (root / CSRC / mutant["file"]).write_text(changed(mutant))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *mutant["tests"]]
        if "file" in mutant:
            command.append("-x")
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                command,
                cwd=root,
                env=environment,
                timeout=LIMIT,
                capture_output=True,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 124
    print("\n".join(done.stdout.splitlines()[-3:] if done.returncode else []), flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
