"""YAML text to plain values, with the place of every key and value.

The scalars are those of YAML 1.2's core schema: ``1e-3`` is a number and ``no`` is text, which
PyYAML, a YAML 1.1 parser, has the other way round. Merge keys (``<<: *name``) are those of 1.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from accelsim.config.problems import Loc, Place, Places, Problem, config_error

MAX_VALUES = 100_000
"""Limit on the expanded size of a config; nested aliases can make a small file immense."""

_TAG = "tag:yaml.org,2002:"


class _CoreLoader(yaml.SafeLoader):
    """Resolves scalars as YAML 1.2's core schema does."""


_CoreLoader.yaml_implicit_resolvers = {}


def _integer(text: str) -> int:
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _floating(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "null": (r"|~|null|Null|NULL", lambda text: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", lambda text: text.lower() == "true"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", _integer),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        _floating,
    ),
    "str": (r"", str),
}

for _name, (_pattern, _) in _SCALARS.items():
    if _name != "str":
        _CoreLoader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})$"), None)


@dataclass(frozen=True)
class Tree:
    """Plain values (dict, list, str, int, float, bool, None) and where they stand."""

    data: Any
    places: Places
    problems: list[Problem]


def parse_yaml(text: str, place: Callable[[int, int], Place]) -> Tree:
    """Parse one YAML document.

    Parameters
    ----------
    text : str
        The document.
    place : callable
        Makes a `Place` of a line and a column, both counted from 1.

    Returns
    -------
    Tree
        With a problem for every duplicate key, key that is not text, unknown tag, number that
        cannot be read and alias of itself.

    Raises
    ------
    InputError
        If the text is not YAML, is nested too deeply, or holds too much.
    """
    try:
        node = yaml.compose(text, Loader=_CoreLoader)
        builder = _Builder(place)
        builder.places.values[()] = place(1, 1)
        data = None if node is None else builder.value(node, ())
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        where = place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        found = f"found the control character {text[error.position]!r}"
        raise config_error([Problem(where, (), f"not valid YAML: {found}")]) from None
    except yaml.MarkedYAMLError as error:
        raise config_error([_malformed(error, place)]) from None
    except RecursionError:
        raise config_error([Problem(place(1, 1), (), "nested too deeply")]) from None
    return Tree(data, builder.places, builder.problems)


def _is_merge(key: yaml.Node) -> bool:
    return isinstance(key, yaml.ScalarNode) and key.value == "<<" and key.style is None


def _malformed(error: yaml.MarkedYAMLError, place: Callable[[int, int], Place]) -> Problem:
    mark = error.problem_mark or error.context_mark
    where = place(mark.line + 1, mark.column + 1) if mark is not None else place(1, 1)
    text = ", ".join(part for part in (error.context, error.problem) if part)
    return Problem(where, (), f"not valid YAML: {text}")


@dataclass
class _Builder:
    """Walks the nodes and collects values, places and problems."""

    place: Callable[[int, int], Place]
    places: Places = field(default_factory=Places)
    problems: list[Problem] = field(default_factory=list)
    _open: list[yaml.Node] = field(default_factory=list)
    _merged_keys: int = 0

    def value(self, node: yaml.Node, loc: Loc) -> Any:
        """Return the plain value of the node at `loc`."""
        self.places.values[loc] = self._at(node)
        if len(self.places.values) > MAX_VALUES:
            problem = Problem(self._at(node), loc, f"holds more than {MAX_VALUES:,} values")
            raise config_error([problem])
        if any(node is outer for outer in self._open):
            self._problem(node, loc, "an alias stands inside the value that it names")
            return None
        self._open.append(node)
        try:
            return self._content(node, loc)
        finally:
            self._open.pop()

    def _content(self, node: yaml.Node, loc: Loc) -> Any:
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.value(item, (*loc, index)) for index, item in enumerate(node.value)]
        scalar = _SCALARS.get(node.tag.removeprefix(_TAG))
        if not isinstance(node, yaml.ScalarNode) or scalar is None:
            known = ", ".join(f"!!{name}" for name in _SCALARS)
            tag = node.tag.replace(_TAG, "!!")
            self._problem(node, loc, f"found the tag {tag}; a config takes {known}")
            return None
        try:
            return scalar[1](node.value)
        except ValueError:
            kind = node.tag.removeprefix(_TAG)
            self._problem(node, loc, f"found {node.value[:40]!r}, which cannot be read as {kind}")
            return None

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, Any]:
        members: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, loc, "found a list or mapping as a key; keys are text")
                continue
            if _is_merge(key_node):
                merged.append(value_node)
                continue
            key: str = key_node.value
            inner = (*loc, key)
            if key in members:
                first = self.places.keys[inner]
                message = f"duplicate key {key!r}; it first stands at {first.text}"
                self._problem(key_node, inner, message)
                continue
            self.places.keys[inner] = self._at(key_node)
            members[key] = self.value(value_node, inner)
        for key_node, value_node in self._of_merged(merged, loc):
            inner = (*loc, key_node.value)
            if key_node.value not in members:
                self.places.keys[inner] = self._at(key_node)
                members[key_node.value] = self.value(value_node, inner)
        return members

    def _of_merged(
        self, nodes: list[yaml.Node], loc: Loc
    ) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """Return the members of mappings that are merged into one; the first of a key counts."""
        for node in nodes:
            if isinstance(node, yaml.SequenceNode):
                yield from self._of_merged(node.value, loc)
                continue
            if any(node is outer for outer in self._open):
                self._problem(node, loc, "an alias stands inside the value that it names")
                continue
            if not isinstance(node, yaml.MappingNode):
                self._problem(node, loc, "<< merges a mapping, or a list of mappings: <<: *name")
                continue
            self._open.append(node)
            further = []
            for key_node, value_node in node.value:
                self._merged_keys += 1
                if self._merged_keys > MAX_VALUES:
                    problem = Problem(self._at(node), loc, f"merges more than {MAX_VALUES:,} keys")
                    raise config_error([problem])
                if _is_merge(key_node):
                    further.append(value_node)
                elif isinstance(key_node, yaml.ScalarNode):
                    yield key_node, value_node
            yield from self._of_merged(further, loc)
            self._open.pop()

    def _at(self, node: yaml.Node) -> Place:
        return self.place(node.start_mark.line + 1, node.start_mark.column + 1)

    def _problem(self, node: yaml.Node, loc: Loc, message: str) -> None:
        self.problems.append(Problem(self._at(node), loc, message))
