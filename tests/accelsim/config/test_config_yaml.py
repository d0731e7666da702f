"""Config files that cannot be read, and YAML with the place of everything in it."""

import json
import math
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.config import load_config
from accelsim.config.document import read_document
from accelsim.config.problems import Place
from accelsim.config.yaml_tree import parse_yaml
from accelsim.errors import InputError


def parse(text):
    return parse_yaml(text, lambda line, column: Place.in_file("f", line, column))


def message(path):
    with pytest.raises(InputError) as caught:
        load_config(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ":1:1: found nothing; expected a mapping such as `workloads: [...]`"),
        (b"# only a comment\n", ":1:1: found nothing; expected a mapping such as..."),
        (b"\n\n - 1\n - 2\n", ":3:2: found [1, 2]; expected a mapping such as..."),
        (b"just text", ":1:1: found 'just text'; expected a mapping such as..."),
        (b"a: 1\nb: [1, 2\n", ":3:1: not valid YAML: while parsing a flow sequence..."),
        (b"a: 1\n\tb: 2\n", ":2:1: not valid YAML: while scanning for the next..."),
        (b"a: b: c\n", ":1:5: not valid YAML: mapping values are not allowed here"),
        (b"a: *nobody\n", ":1:4: not valid YAML: found undefined alias 'nobody'"),
        (b"a: 1\n---\nb: 2\n", ":2:1: not valid YAML: expected a single document in the stream, "
         "but found another document"),
        (b"a: 'unclosed\n", ":2:1: not valid YAML: while scanning a quoted scalar..."),
        (b"a: \x00\n", ":1:4: not valid YAML: found the control character '\\x00'"),
        (b"a: 1\nb: x\x07y\n", ":2:5: not valid YAML: found the control character '\\x07'"),
        (b"a: 1\nname: caf\xe9\n", ":2:10: found the byte 0xe9, which is not UTF-8"),
        ("a: 1".encode("utf-16"), ":1:1: found the byte 0xff, which is not UTF-8"),
        (b"a: " + b"[" * 5000, ":1:1: nested too deeply"),
        (b"{" * 5000, ":1:1: nested too deeply"),
        (b"#" * 1_000_001, ": is too large; a config takes at most 1,000,000 bytes"),
    ],
)  # fmt: skip
def test_files_that_are_no_config(tmp_path, content, expected):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    found = message(path)
    if expected.endswith("..."):
        assert found.startswith(f"{path}{expected[:-3]}")
    else:
        assert found == f"{path}{expected}"


def test_files_that_cannot_be_opened(tmp_path):
    missing = tmp_path / "c.yaml"
    assert message(missing) == f"{missing}: there is no such file"
    assert message(tmp_path) == f"{tmp_path}: is a folder; expected a YAML file"
    missing.write_text("")
    inside = missing / "d.yaml"
    assert message(inside) == f"{inside}: cannot be read: Not a directory"


def test_a_byte_order_mark_is_no_part_of_the_config(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: x")
    assert read_document(path).data == {"name": "x"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", "f:3:1: a: duplicate key 'a'; it first stands at f:1:1"),
        ("x:\n  - {y: 1, y: 2}", "f:2:12: x.0.y: duplicate key 'y'; it first stands at f:2:6"),
        ("1: a\n'1': b\n", "f:2:1: 1: duplicate key '1'; it first stands at f:1:1"),
        ("? [a]\n: b\n", "f:1:3: found a list or mapping as a key; keys are text"),
        ("a: &b [*b]", "f:1:4: a.0: an alias stands inside the value that it names"),
        ("a: &b {c: {d: *b}}", "f:1:4: a.c.d: an alias stands inside the value that it names"),
        ("a: !!int x", "f:1:4: a: found 'x', which cannot be read as int"),
        ("a: " + "9" * 5000, f"f:1:4: a: found '{'9' * 40}', which cannot be read as int"),
        ("a: !!binary aGk=", "f:1:4: a: found the tag !!binary; a config takes "
         "!!null, !!bool, !!int, !!float, !!str"),
        ("a: !!python/object/apply:os.system [ls]", "f:1:4: a: found the tag "
         "!!python/object/apply:os.system; a config takes !!null, !!bool, !!int, !!float, !!str"),
        ("a: !!set {b}", "f:1:4: a: found the tag !!set; a config takes "
         "!!null, !!bool, !!int, !!float, !!str"),
    ],
)  # fmt: skip
def test_yaml_that_a_config_does_not_take(text, expected):
    (problem,) = parse(text).problems
    assert str(problem) == expected


def test_a_config_reports_such_yaml(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "backends: int64\nname: x\nname: y\nworkloads: {synthetic: {n: 1, d: 1, h: 1}}\n"
    )
    expected = f"{path}:3:1: name: duplicate key 'name'; it first stands at {path}:2:1"
    assert message(path) == expected


def test_aliases_of_aliases_do_not_explode():
    lines = ["a: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"b{i}: &x{i + 1} [{', '.join([f'*x{i}'] * 10)}]" for i in range(9)]
    with pytest.raises(InputError, match="holds more than 100,000 values"):
        parse("\n".join(lines))


def test_an_alias_repeats_a_value():
    tree = parse("a: &x {b: [1]}\nc: *x\n")
    assert tree.data == {"a": {"b": [1]}, "c": {"b": [1]}}
    assert tree.problems == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15", 15), ("-3", -3), ("+3", 3), ("0o17", 15), ("0x1F", 31), ("010", 10),
        ("1e-3", 0.001), ("1E3", 1000.0), (".5", 0.5), ("5.", 5.0), ("-1.5e+2", -150.0),
        (".inf", math.inf), ("-.INF", -math.inf), ("+.Inf", math.inf),
        ("true", True), ("False", False), ("no", "no"), ("on", "on"), ("y", "y"),
        ("null", None), ("~", None), ("", None), ("'null'", "null"), ("'15'", "15"),
        ("1_000", "1_000"), ("2024-01-01", "2024-01-01"), ("1:30", "1:30"), ("e3", "e3"),
        ("1e", "1e"), ("<<", "<<"), ("=", "="), ("!!str 15", "15"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text, expected):
    found = parse(f"a: {text}").data["a"]
    assert found == expected
    assert type(found) is type(expected)


def test_not_a_number():
    assert math.isnan(parse(".nan").data)
    assert math.isnan(parse(".NaN").data)


# Infinity is spelled in another way in YAML, which the tests exchange in the whole text.
TEXT = st.text(string.printable[:-5] + "äé∂漢", max_size=8).filter(lambda t: "Infinity" not in t)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_json_is_read_as_json_reads_it(value):
    text = json.dumps(value, ensure_ascii=False).replace("Infinity", ".inf")
    tree = parse(text)
    assert tree.problems == []
    assert tree.data == json.loads(json.dumps(value))


@given(VALUES)
def test_every_value_has_its_place(value):
    text = json.dumps(value, ensure_ascii=False, indent=1)
    tree = parse(text.replace("Infinity", ".inf"))
    lines = text.splitlines()

    def check(inner, loc):
        place = tree.places.values[loc]
        start = lines[place.line - 1].replace("Infinity", ".inf")[place.column - 1 :]
        if isinstance(inner, dict | list):
            assert start[0] == json.dumps(inner)[0]
            pairs = inner.items() if isinstance(inner, dict) else enumerate(inner)
            for key, item in pairs:
                check(item, (*loc, key))
        else:
            assert start.startswith(
                json.dumps(inner, ensure_ascii=False).replace("Infinity", ".inf")
            )

    check(value, ())


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        parse(text)
    except InputError as error:
        refused = str(error)
    else:
        refused = "f:"
    assert refused.startswith("f:")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}", {"p": 1, "q": 3}),
        ("a: &x {p: 1, q: 2}\nb: {q: 3, <<: *x}", {"q": 3, "p": 1}),
        ("a: [&x {p: 1}, &y {p: 2, q: 3}]\nb: {<<: [*x, *y]}", {"p": 1, "q": 3}),
        ("a: [&x {p: 1}, &y {p: 2, q: 3}]\nb: {<<: *y, <<: *x}", {"p": 2, "q": 3}),
        ("a: [&x {p: 1}, &y {<<: *x, q: 3}]\nb: {<<: *y}", {"q": 3, "p": 1}),
        ("a: &x {p: [1, {q: 2}]}\nb: {<<: *x}", {"p": [1, {"q": 2}]}),
        ("b: {'<<': 1}", {"<<": 1}),
        ("b:\n  <<: {p: 1}\n  q: 2", {"q": 2, "p": 1}),
    ],
)
def test_merge_keys(text, expected):
    tree = parse(text)
    assert tree.data["b"] == expected
    assert not tree.problems


def test_merged_values_stand_where_they_were_written():
    tree = parse("a: &x\n  p: 1\nb:\n  <<: *x\n  q: 2")
    places = tree.places
    assert (places.keys["b", "p"].text, places.values["b", "p"].text) == ("f:2:3", "f:2:6")
    assert places.keys["b", "q"].text == "f:5:3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b: {<<: 3}", "<< merges a mapping, or a list of mappings: <<: *name"),
        ("a: &x [1]\nb: {<<: *x}", "<< merges a mapping, or a list of mappings: <<: *name"),
        ("b: &x {<<: *x}", "an alias stands inside the value that it names"),
        ("a: &x {<<: &y {<<: *x}}", "an alias stands inside the value that it names"),
    ],
)
def test_merge_keys_that_merge_nothing(text, message):
    assert [problem.message for problem in parse(text).problems] == [message]


def test_merge_keys_cannot_make_a_small_file_immense():
    lines = ["a0: &a0 {p: 1}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 12)]
    with pytest.raises(InputError, match="merges more than 100,000 keys"):
        parse("\n".join(lines))
