"""Headers of safetensors files: what is accepted, and one clear message for each fault."""

import json
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from accelsim.errors import InputError
from workloads.header import TensorEntry, read_header

F32 = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def raw(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(**changes):
    return {"x": {**F32, **changes}}


def message(path):
    with pytest.raises(InputError) as caught:
        read_header(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def test_reads_what_safetensors_writes(tmp_path):
    path = tmp_path / "x.safetensors"
    tensors = {
        "one": torch.ones(2, 3),
        "two": torch.ones(4, dtype=torch.bfloat16),
        "none": torch.ones(0, 5, dtype=torch.int8),
        "scalar": torch.tensor(1.0, dtype=torch.float64),
    }
    save_file(tensors, path, metadata={"who": "me"})
    header = read_header(path)
    assert header.metadata == {"who": "me"}
    found = {name: (t.dtype, t.shape, t.end - t.begin) for name, t in header.tensors.items()}
    assert found == {
        "one": ("F32", (2, 3), 24),
        "two": ("BF16", (4,), 8),
        "none": ("I8", (0, 5), 0),
        "scalar": ("F64", (), 8),
    }


def test_a_header_without_tensors_is_legal(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw({}))
    assert read_header(path).tensors == {}


def test_an_entry_keeps_its_offsets(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw(entry(), bytes(24)))
    assert read_header(path).tensors == {"x": TensorEntry("F32", (2, 3), 0, 24)}


NOT_JSON = "not a safetensors file: its header is not JSON"
MALFORMED = "tensor 'x': malformed header entry; expected dtype, shape and data_offsets"
TWO = {
    "x": F32,
    "y": {"dtype": "F32", "shape": [1], "data_offsets": [24, 28]},
}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            b"",
            "not a safetensors file: it has 0 bytes, and the length of the header alone takes 8",
        ),
        (
            b"1234567",
            "not a safetensors file: it has 7 bytes, and the length of the header alone takes 8",
        ),
        (
            struct.pack("<Q", 2**63) + b"{}",
            "not a safetensors file: it claims a header of 9,223,372,036,854,775,808 bytes; "
            "the format allows 100,000,000",
        ),
        (
            struct.pack("<Q", 1000) + b"{}",
            "truncated, or not a safetensors file: it claims a header of 1,000 bytes, "
            "and 2 bytes follow",
        ),
        (raw(b"{'x': 1}"), NOT_JSON),
        (raw(b""), NOT_JSON),
        (raw(b"\xff\xfe"), NOT_JSON),
        (raw(b"[" * 100_000), NOT_JSON),
        (raw(b"[]"), "not a safetensors file: its header is not a JSON object"),
        (raw(b'{"x": 1, "x": 2}'), "the header: 'x' appears twice"),
        (raw({"__metadata__": 3}), "the header's __metadata__ must map text to text"),
        (raw({"__metadata__": {"a": 3}}), "the header's __metadata__ must map text to text"),
        (raw({"x": 3}), MALFORMED),
        (raw({"x": {"dtype": "F32"}}), MALFORMED),
        (raw(entry(shape=[-2, -3])), MALFORMED),
        (raw(entry(shape=[2.0, 3])), MALFORMED),
        (raw(entry(shape=[True, 6])), MALFORMED),
        (raw(entry(shape=6)), MALFORMED),
        (raw(entry(shape=[2**63, 0])), MALFORMED),
        (raw(entry(data_offsets=[0])), MALFORMED),
        (raw(entry(data_offsets=[0, 24, 48])), MALFORMED),
        (raw(entry(data_offsets=["0", "24"])), MALFORMED),
        (raw(entry(dtype=32)), MALFORMED),
        (
            raw(entry(shape=[2**62] * 500)),
            "tensor 'x': the header gives it 24 bytes, which is not what F32 "
            f"{[2**62] * 500} takes",
        ),
        (
            raw(entry(data_offsets=[24, 0])),
            "tensor 'x': the header gives it -24 bytes, which is not what F32 [2, 3] takes",
        ),
        (
            raw({**TWO, "y": {**TWO["y"], "data_offsets": [20, 24]}}, bytes(24)),
            "tensor 'y': begins at byte 20; expected 24 "
            "(tensors follow each other without gap or overlap)",
        ),
        (
            raw({**TWO, "y": {**TWO["y"], "data_offsets": [28, 32]}}, bytes(32)),
            "tensor 'y': begins at byte 28; expected 24 "
            "(tensors follow each other without gap or overlap)",
        ),
        (
            raw(TWO, bytes(27)),
            "truncated: its tensors take 28 bytes, and 27 follow the header",
        ),
        (raw(TWO, bytes(30)), "2 bytes follow the last tensor; expected none"),
    ],
)
def test_each_fault_has_its_message(tmp_path, content, expected):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert message(path) == expected


def test_an_unknown_type_lists_the_known_ones(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw(entry(dtype="F31"), bytes(24)))
    text = message(path)
    assert text.startswith("tensor 'x': unknown type 'F31'; known: BOOL, ")
    assert "F32" in text


def test_a_missing_file(tmp_path):
    assert message(tmp_path / "x.safetensors") == "there is no such file"


def test_a_folder(tmp_path):
    assert message(tmp_path) == "is a folder; expected a .safetensors file"


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "x").write_bytes(b"")
    assert message(tmp_path / "x" / "y.safetensors") == "cannot be read: Not a directory"


@given(st.binary(max_size=200), st.integers(0, 200))
def test_garbage_is_refused(tmp_path_factory, tail, length):
    path = tmp_path_factory.mktemp("garbage") / "x.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"\n" + tail)
    assert message(path)


@given(st.data())
def test_any_truncation_of_a_good_file_is_refused(tmp_path_factory, data):
    whole = raw(TWO, bytes(28))
    path = tmp_path_factory.mktemp("cut") / "x.safetensors"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(InputError):
        read_header(path)
