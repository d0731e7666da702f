"""Compiling at first use: what decides the cache's key, failures, and two builds at once."""

import subprocess
import sys
import textwrap

import pytest

from accelsim.kernels import nvcc
from accelsim.kernels.cache import CACHE_VARIABLE, cache_folder
from accelsim.kernels.nvcc import BuildError, CudaSource, architecture_of

FAKE = """\
#!/usr/bin/env bash
if [[ $1 == --version ]]; then echo "release {version}"; exit; fi
echo run >> "$(dirname "$0")/runs"
sleep 0.3
while [[ $1 != -o ]]; do shift; done
if grep -q broken "$3"; then echo "$3(1): error: broken is undefined" >&2; exit 2; fi
cp "$3" "$2"
"""


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """A compiler that copies its source and counts its runs."""
    path = tmp_path / "cuda" / "bin" / "nvcc"
    path.parent.mkdir(parents=True)
    path.write_text(FAKE.format(version="13.0"))
    path.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return path


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "csrc"
    folder.mkdir()
    (folder / "a.cu").write_text('#include "b.hpp"\n#include <vector>\nint a;\n')
    (folder / "b.hpp").write_text('#include "c.h"\n')
    (folder / "c.h").write_text("// one\n")
    (folder / "unrelated.h").write_text("// one\n")
    return CudaSource(folder / "a.cu")


def runs(compiler):
    path = compiler.parent / "runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_built_once(compiler, source):
    library = source.build("sm_80")
    assert library.read_text() == source.path.read_text()
    assert source.build("sm_80") == library
    assert runs(compiler) == 1


def test_what_decides_the_key(compiler, source):
    folder = source.path.parent
    first = source.library("sm_90a")
    (folder / "unrelated.h").write_text("// two\n")
    assert source.library("sm_90a") == first
    others = [source.library("sm_80")]
    (folder / "c.h").write_text("// two\n")
    others.append(source.library("sm_90a"))
    source.path.write_text(source.path.read_text() + "int b;\n")
    others.append(source.library("sm_90a"))
    compiler.write_text(FAKE.format(version="13.1"))
    others.append(source.library("sm_90a"))
    assert len({first, *others}) == 5


def test_the_compilers_own_message(compiler, source):
    source.path.write_text("broken\n")
    with pytest.raises(BuildError) as error:
        source.build("sm_86")
    assert "could not compile a.cu for sm_86" in str(error.value)
    assert "error: broken is undefined" in str(error.value)
    assert not source.library("sm_86").exists()
    source.path.write_text("mended\n")
    assert source.build("sm_86").read_text() == "mended\n"


def test_processes_that_build_at_once_compile_once(compiler, source):
    script = textwrap.dedent(
        f"""
        from pathlib import Path
        from accelsim.kernels.nvcc import CudaSource
        print(CudaSource(Path({str(source.path)!r})).build("sm_90a").read_text(), end="")
        """
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in processes:
        assert process.communicate(timeout=60)[0] == source.path.read_text()
    assert runs(compiler) == 1


def test_a_killed_build_leaves_nothing_that_looks_finished(compiler, source):
    script = (
        "from pathlib import Path; from accelsim.kernels.nvcc import CudaSource; "
        f"CudaSource(Path({str(source.path)!r})).build('sm_80')"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    while not runs(compiler):
        assert process.poll() is None
    process.kill()
    process.wait(timeout=60)
    assert not source.library("sm_80").exists()
    assert source.build("sm_80").exists()


def test_a_missing_compiler_is_named(monkeypatch, source):
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(nvcc.shutil, "which", lambda _: None)
    with pytest.raises(BuildError, match="nvcc, CUDA's compiler, is not found"):
        source.build("sm_80")
    assert "CUDA_HOME" in nvcc.missing_tools(cutlass=True)


def test_missing_headers_name_the_extra(monkeypatch, compiler, source):
    monkeypatch.setattr(nvcc.importlib.util, "find_spec", lambda _: None)
    assert "[cuda]" in nvcc.missing_tools(cutlass=True)
    assert nvcc.missing_tools(cutlass=False) == ""
    with pytest.raises(BuildError, match=r"\[cuda\]"):
        CudaSource(source.path, cutlass=True).build("sm_90a")


def test_names_of_architectures():
    found = [architecture_of(c) for c in ((8, 0), (8, 9), (9, 0), (10, 0), (12, 0))]
    assert found == ["sm_80", "sm_89", "sm_90a", "sm_100", "sm_120"]


def test_cache_folders(monkeypatch, tmp_path):
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "accelsim"
    assert (tmp_path / "accelsim").is_dir()
