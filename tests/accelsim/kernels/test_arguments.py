"""Python's structures of arguments are those of csrc/arguments.hpp, field by field."""

import ctypes
import inspect
import re
import shutil
import subprocess

import pytest

from accelsim.kernels import launches
from accelsim.kernels.launches import Arguments
from accelsim.kernels.nvcc import CSRC
from gemm_backends.cuda.fused import arguments

COMPILER = shutil.which("c++") or shutil.which("g++")
HEADER = CSRC / "arguments.hpp"
STRUCTURES = {
    name.strip("_"): kind
    for module in (arguments, launches)
    for name, kind in inspect.getmembers(module, inspect.isclass)
    if issubclass(kind, Arguments) and kind is not Arguments
}


def test_every_structure_of_the_header_has_one_here():
    assert set(re.findall(r"^struct (\w+) {", HEADER.read_text(), re.MULTILINE)) == set(STRUCTURES)


def test_fields_have_the_offsets_and_the_kinds_that_the_compiler_gives_them(tmp_path):
    if COMPILER is None:
        pytest.skip("needs a C++ compiler")
    lines = [
        f'  std::printf("{name} {field} %zu %zu %d %zu\\n", offsetof({name}, {field}), '
        f"sizeof({name}::{field}), kind<decltype({name}::{field})>, sizeof({name}));"
        for name, kind in STRUCTURES.items()
        for field, _ in kind._fields_
    ]
    source = tmp_path / "offsets.cpp"
    source.write_text(
        "#include <cstddef>\n#include <cstdio>\n#include <type_traits>\n"
        f'#include "{HEADER}"\n'
        "using namespace accelsim;\n"
        "template <class T> constexpr int kind = std::is_pointer_v<T> ? 0 "
        ": std::is_floating_point_v<T> ? 2 : 1;\n"
        "int main() {\n" + "\n".join(lines) + "\n}\n"
    )
    program = tmp_path / "offsets"
    subprocess.run([COMPILER, "-std=c++17", "-o", program, source], check=True)
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    kinds = {ctypes.c_void_p: 0, ctypes.c_int64: 1, ctypes.c_double: 2}
    wanted = [
        f"{name} {field} {getattr(kind, field).offset} 8 {kinds[c_type]} {ctypes.sizeof(kind)}"
        for name, kind in STRUCTURES.items()
        for field, c_type in kind._fields_
    ]
    assert said.splitlines() == wanted
