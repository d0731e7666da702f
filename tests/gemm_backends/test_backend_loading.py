"""Backends by name, and the options that reach their constructors."""

import subprocess
import sys
from typing import Literal

import pytest

from accelsim.errors import InputError
from accelsim.plugins.registry import Registry
from gemm_backends import (
    Accumulator,
    GemmBackend,
    backend_class,
    list_backends,
    load_backend,
    loading,
    register,
)


class Tunable(GemmBackend):
    name = "tunable"
    bits = 8
    accumulator = Accumulator(bits=32, overflow="wrap")

    def __init__(self, lanes: int, mode: Literal["fast", "slow"] = "fast", clock=None):
        if lanes < 1:
            raise ValueError(f"lanes must be positive, got {lanes}")
        self.lanes = lanes

    def matmul(self, a, b):
        return a.long() @ b.long().T


@pytest.fixture
def tunable(monkeypatch):
    """`Tunable`, registered for one test."""
    fresh = Registry("backend", "accelsim.backends", GemmBackend)
    monkeypatch.setattr(loading, "registry", fresh)
    assert register(Tunable) is Tunable


def test_the_built_in_backends_are_listed():
    assert {"cpu-int8", "cuda-int8", "emulator", "int64"} <= set(list_backends())


@pytest.mark.parametrize("name", ["cpu-int8", "cuda-int8", "emulator", "int64"])
def test_every_built_in_backend_loads_and_knows_whether_it_can_run(name):
    backend = load_backend(name)
    assert backend.name == name
    availability = backend.availability()
    assert availability.available or availability.reason


def test_importing_and_listing_starts_no_cuda():
    code = (
        "import torch, gemm_backends as g; g.list_backends();"
        "[g.load_backend(name) for name in g.list_backends()];"
        "assert not torch.cuda.is_initialized()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.usefixtures("tunable")
class TestOptions:
    def test_given_and_default_ones(self):
        assert load_backend("tunable", lanes=4).options == {
            "lanes": 4,
            "mode": "fast",
            "clock": None,
        }

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({}, "backend 'tunable' needs the option 'lanes'"),
            (
                {"lanes": 1, "mod": "fast"},
                "backend 'tunable': unknown option 'mod'; did you mean 'mode'\\? "
                "\\(known: clock, lanes, mode\\)",
            ),
            (
                {"lanes": "4"},
                "option 'lanes' of backend 'tunable' should be a valid integer, got '4'",
            ),
            ({"lanes": True}, "'lanes' of backend 'tunable' should be a valid integer, got True"),
            ({"lanes": 1, "mode": "quick"}, "should be 'fast' or 'slow', got 'quick'"),
            ({"lanes": 0}, "backend 'tunable': lanes must be positive, got 0"),
        ],
    )
    def test_wrong_ones(self, options, message):
        with pytest.raises(InputError, match=message):
            load_backend("tunable", **options)

    def test_its_name_is_taken(self):
        class Impostor(Tunable):
            pass

        with pytest.raises(InputError, match="name 'tunable' is already taken"):
            register(Impostor)

    def test_installed_under_another_name(self):
        loading.registry.register("alias", Tunable)
        with pytest.raises(InputError, match="backend 'alias' calls itself 'tunable'"):
            backend_class("alias")


def test_unknown_backend():
    with pytest.raises(InputError, match=r"unknown backend 'emulater'; did you mean 'emulator'\?"):
        load_backend("emulater")


def test_a_class_in_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from gemm_backends import Accumulator, GemmBackend\n"
        "class Mine(GemmBackend):\n"
        "    name, bits, accumulator = 'mine', 4, Accumulator(32, 'wrap')\n"
        "    def __init__(self, depth: int = 2): ...\n"
        "    def matmul(self, a, b): return a.long() @ b.long().T\n"
    )
    assert load_backend(f"{path}:Mine", depth=3).options == {"depth": 3}
    path.with_name("thief.py").write_text(path.read_text().replace("'mine'", "'int64'"))
    with pytest.raises(
        InputError, match=r"taken by the entry point '.*' of package accelsim; give"
    ):
        load_backend(f"{path.with_name('thief.py')}:Mine")
    installed = sys.modules[backend_class("int64").__module__].__file__
    assert load_backend(f"{installed}:{backend_class('int64').__name__}").name == "int64"
    path.with_name("bad.py").write_text(path.read_text().replace("4, Acc", "40, Acc"))
    with pytest.raises(InputError, match=r"bad.py cannot be loaded: TypeError: Mine.bits must be"):
        load_backend(f"{path.with_name('bad.py')}:Mine")
