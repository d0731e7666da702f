"""Docstrings of everything public follow numpydoc, and their examples print what they show."""

import doctest
import enum
import importlib
import inspect
import warnings

import pydantic
import pytest

from accelsim.runner.makers.maker import Maker
from accelsim.types import Route
from gemm_backends.loading import registry as backends

PUBLIC = [
    "accelsim",
    "accelsim.arithmetic.oracle",
    "accelsim.arithmetic.percentile",
    "accelsim.arithmetic.rounding",
    "accelsim.arithmetic.sparse",
    "accelsim.config",
    "accelsim.integer_mode",
    "accelsim.quantize",
    "accelsim.records",
    "accelsim.records.fields",
    "accelsim.report",
    "accelsim.routes",
    "accelsim.runner",
    "accelsim.types",
    "accelsim.unpack",
    "gemm_backends",
    "gemm_backends.baselines",
    "gemm_backends.conformance",
    "gemm_backends.hooks",
    "workloads",
    "workloads.capture",
]
"""The modules of the API reference (docs/api)."""

PROTOCOLS = (Maker, Route)

RULES = {
    "GL01": "the summary starts on the line of the quotes or the one after",
    "GL03": "no double blank lines",
    "GL06": "sections are those of numpydoc",
    "GL07": "sections stand in numpydoc's order",
    "GL08": "there is a docstring",
    "PR01": "every parameter is documented",
    "PR02": "no parameter is documented that is not there",
    "PR03": "parameters are documented in their order",
    "RT01": "what is returned is documented, by a section or by a summary that begins with Return",
    "SS03": "the summary ends with a period",
    "YD01": "what is yielded is documented",
}


def public():
    """Return the public classes, functions, methods and properties by their full names."""
    found = {}
    for name in PUBLIC:
        module = importlib.import_module(name)
        names = getattr(module, "__all__", None) or [
            key
            for key, value in vars(module).items()
            if not key.startswith("_") and getattr(value, "__module__", None) == name
        ]
        for key in names:
            value = getattr(module, key)
            if not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            if not value.__module__.startswith(("accelsim", "gemm_backends", "workloads")):
                continue
            full = f"{value.__module__}.{value.__qualname__}"
            found[full] = value
            if inspect.isclass(value):
                found |= {f"{full}.{name}": member for name, member in members(value)}
    return found


def members(cls):
    """Return the public methods and properties that a class defines and none of its bases does.

    One that overrides another, or is part of a public protocol, has that documentation.
    """
    for name, value in vars(cls).items():
        method = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        inherited = any(
            name in vars(base) for base in [*cls.__mro__[1:], *PROTOCOLS] if base != cls
        )
        documented = inspect.isfunction(method) or isinstance(value, property)
        if documented and not inherited and not name.startswith(("_", "model_")):
            yield name, value


OBJECTS = public()


def wrong(name, value):
    """Return which rules a docstring breaks, with what numpydoc says about it."""
    validate = pytest.importorskip("numpydoc.validate", reason="it comes with accelsim[test]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = validate.validate(name)["errors"]
    codes = {code: f"{name}: {code} {said}" for code, said in found if code in RULES}
    if inspect.isclass(value) and (
        issubclass(value, enum.Enum | pydantic.BaseModel)  # fields describe themselves
        or getattr(value, "_is_protocol", False)
        or inspect.isabstract(value)
    ):
        codes.pop("PR01", None)
    if (inspect.getdoc(value) or "").startswith(("Return ", "Whether ")):
        codes.pop("RT01", None)
    return list(codes.values())


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_a_docstring_follows_numpydoc(name):
    assert not wrong(name, OBJECTS[name])


def undocumented(a, b):
    """Add two numbers.

    Parameters
    ----------
    a : int
        The first.
    """
    return a + b


def test_a_parameter_without_documentation_is_found():
    found = wrong(f"{__name__}.undocumented", undocumented)
    assert [text.split(": ")[1][:4] for text in found] == ["PR01", "RT01"]


WITH_EXAMPLES = [name for name in sorted(OBJECTS) if ">>>" in (OBJECTS[name].__doc__ or "")]


def test_what_users_call_first_has_examples():
    needed = {"integer_gemms", "quantize", "load_backend", "register", "load_strategy"}
    needed |= {"open_bundle", "write_bundle", "Capture", "load_config"}
    assert needed <= {name.rpartition(".")[2] for name in WITH_EXAMPLES}


@pytest.fixture
def registered(monkeypatch, tmp_path):
    """What an example registers or writes is gone after it."""
    monkeypatch.setattr(backends, "_registered", dict(backends._registered))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
@pytest.mark.usefixtures("registered")
def test_the_examples_of_a_docstring_print_what_they_show(name):
    value = OBJECTS[name]
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(value, name, globs={})
    printed = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=printed.append)
    assert not printed, "".join(printed)
