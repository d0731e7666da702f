"""The suite knows no backend: built-in ones come in by the door that plug-ins use."""

import ast
from importlib.metadata import entry_points
from pathlib import Path

import accelsim
import gemm_backends
from gemm_backends import loading

ROOTS = [Path(package.__file__).parent for package in (accelsim, gemm_backends)]
ENTRIES = entry_points(group="accelsim.backends")
OWN = [entry for entry in ENTRIES if entry.value.startswith("gemm_backends.")]
MODULES = {entry.module for entry in OWN}
NAMES = {entry.name for entry in OWN}


def modules(root):
    for path in sorted(root.rglob("*.py")):
        name = ".".join((root.name, *path.relative_to(root).with_suffix("").parts))
        yield name.removesuffix(".__init__"), ast.parse(path.read_text())


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_there_are_built_in_backends_to_look_for():
    assert len(OWN) >= 4


def test_nothing_in_accelsim_names_a_backend():
    """Neither by an import nor by its name; words with a hyphen are looked for in texts as well."""
    for name, tree in modules(ROOTS[0]):
        assert not MODULES & set(imported(tree)), name
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        texts = {text for text in texts if isinstance(text, str)}
        for backend in NAMES:
            if backend == "int64":  # a type of NumPy's too
                assert not {f"backend {backend}", f"--backend {backend}"} & texts
                continue
            assert not [text for text in texts if backend in text.split()], (name, backend)
            assert "-" not in backend or not [text for text in texts if backend in text], name


def test_the_backends_package_imports_no_backend_but_from_one():
    """`__init__`, the registry and the kit know none; a backend may build on another."""
    for name, tree in modules(ROOTS[1]):
        if name in ("gemm_backends", "gemm_backends.base", "gemm_backends.loading") or (
            ".conformance" in name
        ):
            assert not MODULES & set(imported(tree)), name


def test_built_in_backends_are_only_entry_points():
    """Nothing registers them in code, so that a plug-in has every right that they have."""
    assert not loading.registry._registered
    assert set(gemm_backends.list_backends()) >= NAMES
