"""The plug-in registry: entry points, classes registered in code, and classes in files."""

import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from accelsim.errors import InputError
from accelsim.plugins import registry as module
from accelsim.plugins.registry import Registry, split_reference


class Animal:
    pass


class Cat(Animal):
    pass


class Dog(Animal):
    pass


@pytest.fixture
def animals(monkeypatch):
    """A registry in whose group the packages of this process announce a few plug-ins."""

    def build(**targets):
        entries = [
            EntryPoint(name, value, "test.animals")
            for name, values in targets.items()
            for value in ([values] if isinstance(values, str) else values)
        ]
        monkeypatch.setattr(module, "entry_points", lambda group: entries)
        return Registry("animal", "test.animals", Animal)

    return build


CAT = f"{__name__}:Cat"
DOG = f"{__name__}:Dog"


def test_finds_an_entry_point(animals):
    registry = animals(cat=CAT, dog=DOG)
    assert registry.names() == ["cat", "dog"]
    assert registry.get("cat") is Cat


def test_listing_imports_nothing():
    code = (
        "import sys; from gemm_backends import list_backends; assert 'emulator' in list_backends();"
        "loaded = [m for m in sys.modules if m.startswith('gemm_backends.')];"
        "assert not {'gemm_backends.emulator.backend', 'gemm_backends.cuda.int8'} & {*loaded}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_name_suggests_the_nearest(animals):
    with pytest.raises(
        InputError, match=r"unknown animal 'cta'; did you mean 'cat'\? \(known: cat"
    ):
        animals(cat=CAT).get("cta")


def test_a_broken_plugin_names_itself_and_stops_no_other(animals):
    registry = animals(cat=CAT, ghost="no_such_module_here:Ghost", cow=f"{__name__}:Cow")
    assert registry.get("cat") is Cat
    assert registry.names() == ["cat", "cow", "ghost"]
    broken = registry.broken()
    assert set(broken) == {"cow", "ghost"}
    assert "entry point 'no_such_module_here:Ghost'" in broken["ghost"]
    assert "ModuleNotFoundError: No module named 'no_such_module_here'" in broken["ghost"]
    assert "AttributeError" in broken["cow"]


def test_a_plugin_that_exits_at_import_is_only_broken(animals, tmp_path, monkeypatch):
    (tmp_path / "quitter.py").write_text("raise SystemExit('no licence')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="SystemExit: no licence"):
        animals(quitter="quitter:Quitter").get("quitter")


def test_an_entry_point_that_is_no_subclass(animals):
    with pytest.raises(InputError, match=r"animal 'path' .* is not a subclass of Animal"):
        animals(path="pathlib:Path").get("path")


def test_two_packages_with_one_name(animals):
    registry = animals(cat=[CAT, DOG], dog=DOG)
    with pytest.raises(InputError, match=f"'cat' is defined twice: by .*{CAT}.*and.*{DOG}"):
        registry.get("cat")
    assert registry.get("dog") is Dog


def test_the_same_entry_point_seen_twice_is_one(animals):
    assert animals(cat=[CAT, CAT]).get("cat") is Cat


def test_register(animals):
    registry = animals(dog=DOG)
    registry.register("cat", Cat)
    registry.register("cat", Cat)
    assert registry.get("cat") is Cat
    assert registry.names() == ["cat", "dog"]


@pytest.mark.parametrize("name", ["cat", "dog"])
def test_register_refuses_a_taken_name(animals, name):
    registry = animals(dog=DOG)
    registry.register("cat", Cat)

    class Impostor(Animal):
        pass

    with pytest.raises(InputError, match=f"animal name '{name}' is already taken"):
        registry.register(name, Impostor)


def test_register_refuses_another_class(animals):
    with pytest.raises(InputError, match="is not a subclass of Animal"):
        animals().register("path", os.PathLike)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("emulator", None),
        ("a:b", None),
        ("x.py:Cls", ("x.py", "Cls")),
        ("../d/x.py:Cls", ("../d/x.py", "Cls")),
        ("C:\\d\\x.py:Cls", ("C:\\d\\x.py", "Cls")),
        ("x.py", ("x.py", "")),
    ],
)
def test_split_reference(name, expected):
    parts = split_reference(name)
    assert (parts and (str(parts[0]), parts[1])) == expected


ZOO = f"""
from dataclasses import dataclass
from {__name__} import Animal

class Emu(Animal):
    pass

class Stone:
    pass
"""


@pytest.fixture
def zoo(tmp_path):
    path = tmp_path / "zoo.py"
    path.write_text(ZOO)
    return path


def test_a_class_in_a_file(animals, zoo, monkeypatch):
    registry = animals()
    absolute = registry.get(f"{zoo}:Emu")
    monkeypatch.chdir(zoo.parent)
    assert registry.get("zoo.py:Emu") is absolute
    assert issubclass(absolute, Animal)
    assert registry.names() == []


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("zoo.py:Emo", r"unknown class 'Emo'; did you mean 'Emu'\? \(known: Emu\)"),
        ("zoo.py:Stone", "zoo.py:Stone is not a subclass of Animal"),
        ("zoo.py", "names no class; write zoo.py:ClassName"),
        ("zoom.py:Emu", "animal file .*zoom.py does not exist"),
    ],
)
def test_a_wrong_reference(animals, zoo, monkeypatch, reference, message):
    monkeypatch.chdir(zoo.parent)
    with pytest.raises(InputError, match=message):
        animals().get(reference)


def test_a_file_that_fails_to_import_can_be_mended(animals, tmp_path):
    path = tmp_path / "newt.py"
    path.write_text("\n1 / 0")
    registry = animals()
    with pytest.raises(InputError, match=r"cannot be loaded: ZeroDivisionError.* \(newt.py:2\)$"):
        registry.get(f"{path}:Newt")
    path.write_text(f"from {__name__} import Animal\nclass Newt(Animal): pass\n")
    assert issubclass(registry.get(f"{path}:Newt"), Animal)
