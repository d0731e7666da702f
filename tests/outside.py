"""A fresh virtual environment that sees this one's packages, for tests of plug-in packages.

The plug-ins themselves are built as wheels, installed by pip, and found by their metadata alone.
"""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]

RUN = {
    name: f'runpy.run_module("{name}", run_name="__main__", alter_sys=True)'
    for name in ("accelsim", "pip", "pytest")
}


class Environment:
    """A virtual environment in a folder, with this environment's packages behind its own."""

    def __init__(self, folder):
        self.folder = folder
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        self.python = folder / "venv" / "bin" / "python"
        (site,) = (folder / "venv").glob("lib/python*/site-packages")
        below = sysconfig.get_path("purelib")
        (site / "below.pth").write_text(f"import site; site.addsitedir({below!r})\n")

        for name in ("accelsim", "pip", "pytest"):
            command = folder / "venv" / "bin" / name
            command.write_text(
                f"#!{self.python}\nimport runpy, sys\nsys.path.pop(0)\n{RUN[name]}\n"
            )
            command.chmod(0o755)

    def variables(self):
        """Return environment variables that put its commands first and let pip install offline.

        By pip's parser, no build isolation is wanted where its variable says 0.
        """
        path = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        offline = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
        return {**os.environ, **quiet, **offline, "PATH": path}

    def install(self, *packages):
        """Build a wheel of each folder and install it; return the names of the wheels."""
        wheels = self.folder / "wheels"
        pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
        offline = ["--no-deps", "--no-index"]
        build = [*pip, "wheel", *offline, "--no-build-isolation", "-w", wheels, *packages]
        subprocess.run(build, check=True, cwd=self.folder)
        found = sorted(wheels.glob("*.whl"))
        into = [*pip, "--python", self.python, "install", *offline, *found]
        subprocess.run(into, check=True, cwd=self.folder)
        return [wheel.name for wheel in found]

    def run(self, *arguments, check=0):
        """Run a module in the environment, away from the source tree; return what it printed."""
        done = subprocess.run(
            [self.python, "-m", *map(str, arguments)],
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        assert done.returncode == check, done.stdout + done.stderr
        return done.stdout

    def python_says(self, code):
        """Return what a line of Python prints in the environment."""
        return subprocess.check_output([self.python, "-c", code], cwd=self.folder, text=True)

    def accelsim(self, *arguments, check=0):
        """Run accelsim."""
        return self.run("accelsim", *arguments, check=check)

    def backends(self):
        """Return the rows of ``accelsim backends`` by name."""
        return {row["name"]: row for row in json.loads(self.accelsim("backends", "--format=json"))}
