"""Options of plug-ins: checked against the constructor's signature, and given back as JSON."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from accelsim.errors import DataError, InputError
from accelsim.plugins.options import OptionError, instantiate, parse_options, resolved_options


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow"


@dataclass(frozen=True)
class Clock:
    mhz: int
    name: str = "main"


class Array:
    def __init__(
        self,
        lanes: tuple[int, int] = (1, 2),
        mode: Mode = Mode.FAST,
        table: Path = Path("x"),
        clock: Clock | None = None,
        depth: Annotated[int, Field(ge=1)] = 1,
        speed: float = 1.0,
        order: Literal["nm", "mn"] = "nm",
        anything=None,
    ):
        self.made = dict(locals())


class Needy:
    def __init__(self, lanes: int, **extra: Any): ...


class Explosive:
    def __init__(self, lanes: int = 1):
        raise RuntimeError("no licence")


class Bare:
    pass


YAML = {
    "lanes": [3, 4],
    "mode": "slow",
    "table": "a/b",
    "clock": {"mhz": 5},
    "depth": 2,
    "speed": 3,
    "order": "mn",
    "anything": [{}],
}


def test_yaml_values_become_what_the_annotations_say():
    made = instantiate(Array, "it", YAML).made
    assert made["lanes"] == (3, 4)
    assert made["mode"] is Mode.SLOW
    assert made["table"] == Path("a/b")
    assert made["clock"] == Clock(5)
    assert isinstance(made["speed"], float)


def test_python_values_are_taken_too():
    values = {"lanes": (3, 4), "mode": Mode.SLOW, "table": Path("a"), "clock": Clock(5)}
    made = instantiate(Array, "it", values).made
    assert {key: made[key] for key in values} == values


def test_options_come_back_as_plain_values_that_are_taken_again():
    values = {"mode": Mode.SLOW, "table": Path("a"), "clock": Clock(5)}
    plain = resolved_options(Array, (), values)
    assert (plain["mode"], plain["table"]) == ("slow", "a")
    assert plain["clock"] == {"mhz": 5, "name": "main"}
    assert instantiate(Array, "it", plain).made["clock"] == Clock(5)
    assert resolved_options(Bare, (), {}) == {}


@pytest.mark.parametrize(
    ("option", "value", "message", "inside"),
    [
        ("lanes", [3, "x"], "should be a valid integer, got [3, 'x']", (1,)),
        ("lanes", 3, "should be a list, got 3", ()),
        ("mode", "quick", "should be 'fast' or 'slow', got 'quick'", ()),
        ("clock", {"mhz": "x"}, "should be a valid integer, got {'mhz': 'x'}", ()),
        ("depth", 0, "should be greater than or equal to 1, got 0", ()),
        ("depth", True, "should be a valid integer, got True", ()),
        ("depth", 1.5, "should be a valid integer, got 1.5", ()),
        ("speed", "1", "should be a valid number, got '1'", ()),
        ("table", object, "should be", ()),
    ],
)
def test_wrong_values(option, value, message, inside):
    arguments, (error,) = parse_options(Array, "array 'x'", {option: value, "order": "mn"})
    assert arguments == {"order": "mn"}
    assert str(error).startswith(f"option {option!r} of array 'x' {message}")
    assert (error.option, error.inside, error.unknown) == (option, inside, False)


def test_several_values_for_one_option_are_several_entries():
    owner = "backend 'typed'"
    (error,) = parse_options(Array, owner, {"depth": [18, 24]})[1]
    assert str(error).endswith(
        "got [18, 24]; to compare several values, write one entry under backends for each: "
        "{…, depth: 18} and {…, depth: 24}"
    )
    for wrong in ([18], [], [18, "x"]):
        (error,) = parse_options(Array, owner, {"depth": wrong})[1]
        assert str(error).endswith(f"got {wrong!r}")


def test_every_error_is_listed():
    _, errors = parse_options(Array, "it", {"lane": 1, "depth": 0, "order": "x"})
    assert [error.option for error in errors] == ["lane", "depth", "order"]
    assert "unknown option 'lane'; did you mean 'lanes'?" in str(errors[0])
    assert errors[0].unknown


def test_missing_and_open_ended_options():
    assert parse_options(Needy, "it", {"lanes": 1, "other": 2}) == ({"lanes": 1, "other": 2}, [])
    _, (error,) = parse_options(Needy, "array 'x'", {})
    assert (str(error), error.option) == ("array 'x' needs the option 'lanes'", None)


def test_annotations_that_cannot_be_resolved_are_not_checked():
    class Sketch:
        def __init__(self, lanes: NoSuchType = 1): ...  # noqa: F821

    assert parse_options(Sketch, "it", {"lanes": "x"}) == ({"lanes": "x"}, [])


def test_whatever_a_constructor_raises_is_an_input_error():
    with pytest.raises(InputError, match="array 'x' cannot be made: RuntimeError: no licence"):
        instantiate(Explosive, "array 'x'", {})
    with pytest.raises(OptionError, match="should be a valid integer"):
        instantiate(Explosive, "array 'x'", {"lanes": "1"})
    with pytest.raises(InputError, match="unknown option 'lanes' \\(known: none\\)"):
        instantiate(Bare, "it", {"lanes": "1"})


class Picky:
    def __init__(self, depth: int = 1, width: int = 1):
        if depth < 1:
            raise OptionError("the array needs a row", "depth")
        if width < 1:
            raise ValueError("width must be positive, whatever depth is")
        if width > 8:
            raise DataError("no")


@pytest.mark.parametrize(
    ("options", "option", "message"),
    [
        ({"width": 2, "depth": 0}, "depth", "the array needs a row"),
        ({"depth": 2, "width": 0}, "width", "it: width must be positive, whatever depth is"),
    ],
)
def test_what_a_constructor_refuses_names_the_option(options, option, message):
    with pytest.raises(OptionError) as caught:
        instantiate(Picky, "it", options)
    assert (caught.value.option, str(caught.value)) == (option, message)
    with pytest.raises(DataError) as other:
        instantiate(Picky, "it", {"width": 9})
    assert not isinstance(other.value, OptionError)
