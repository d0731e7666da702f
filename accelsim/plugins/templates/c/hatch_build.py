"""Compile the C library when the package is built or installed."""

import os
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "my_accelerator"


class CompileLibrary(BuildHookInterface):
    """Run the C compiler ($CC, or cc) and put the library into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and mark the wheel as made for this platform."""
        source = Path(self.root, PACKAGE, "gemm.c")
        library = source.with_name("libgemm.so")
        compiler = os.environ.get("CC", "cc")
        command = [compiler, "-O3", "-shared", "-fPIC", "-o", str(library), str(source)]
        subprocess.run(command, check=True)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"].append(f"{PACKAGE}/libgemm.so")
