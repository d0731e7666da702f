"""Bundles: what is read from them, and one clear message for each fault."""

import json

import pytest
import torch
from safetensors.torch import save_file

from accelsim.errors import InputError
from workloads import open_bundle

A, B = torch.randn(4, 6), torch.randn(5, 6)


def described(*gemms, **changes):
    text = {"schema": 1, "source": {"model": "m"}, "gemms": list(gemms), **changes}
    return {"accelsim": json.dumps(text)}


def gemm(name="x", **changes):
    return {"name": name, "op": "qk", "layer": "3", "phase": "grad_input", **changes}


@pytest.fixture
def write(tmp_path):
    def write(tensors, metadata=None, name="tiny.safetensors"):
        apart = {key: tensor.clone() for key, tensor in tensors.items()}
        save_file(apart, tmp_path / name, metadata=metadata)
        return tmp_path / name

    return write


def message(path):
    with pytest.raises(InputError) as caught:
        open_bundle(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def test_a_described_bundle(write):
    heads = torch.randn(2, 3, 6, dtype=torch.bfloat16), torch.randn(2, 7, 6, dtype=torch.float16)
    tensors = {"x/a": A, "x/b": B, "y.qk/a": heads[0], "y.qk/b": heads[1], "extra": torch.ones(1)}
    bundle = open_bundle(write(tensors, described(gemm("y.qk"), gemm("x", op="linear", layer=""))))
    assert bundle.source == {"model": "m"}
    y, x = bundle.gemms
    assert (y.workload, y.name, y.op, y.layer, y.phase) == ("tiny", "y.qk", "qk", "3", "grad_input")
    assert (y.batch, y.n, y.d, y.h, y.batched) == (2, 3, 6, 7, True)
    assert (x.batch, x.n, x.d, x.h, x.batched) == (1, 4, 6, 5, False)
    assert x.op == "linear"
    for found, expected in zip([*y.load(), *x.load()], [*heads, A, B], strict=True):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


def test_opening_reads_no_tensor(write, monkeypatch):
    path = write({"x/a": A, "x/b": B})
    monkeypatch.setattr("workloads.bundle.safe_open", None)
    assert open_bundle(path).gemms[0].macs == 4 * 6 * 5


def test_pairs_without_metadata_are_linear_forward_gemms(write):
    tensors = {"q/a": A, "q/b": B, "deep/k/a": A, "deep/k/b": B, "A": A, "B": B, "unpaired": A}
    bundle = open_bundle(write(tensors, {"format": "pt"}))
    assert bundle.source == {}
    assert [g.name for g in bundle.gemms] == ["tiny", "deep/k", "q"]
    assert {(g.op, g.layer, g.phase) for g in bundle.gemms} == {("linear", "", "forward")}
    assert (bundle.gemms[0].tensor_names.a, bundle.gemms[0].tensor_names.b) == ("A", "B")
    assert torch.equal(bundle.gemms[0].load()[1], B)


@pytest.mark.parametrize("shapes", [((0, 6), (5, 6)), ((4, 0), (5, 0)), ((0, 4, 6), (0, 5, 6))])
def test_empty_dimensions_are_legal(write, shapes):
    a, b = (torch.ones(shape) for shape in shapes)
    (gemm,) = open_bundle(write({"x/a": a, "x/b": b})).gemms
    assert (gemm.shapes.a, gemm.shapes.b) == shapes
    assert [tuple(t.shape) for t in gemm.load()] == list(shapes)


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        (
            {"x/a": A},
            "incomplete pair: tensor 'x/b' is missing; expected both operands of every GEMM "
            "(there are: x/a)",
        ),
        (
            {"B": B},
            "incomplete pair: tensor 'A' is missing; expected both operands of every GEMM "
            "(there are: B)",
        ),
        ({"x": A, "/a": A}, "holds no GEMM; expected pairs of tensors NAME/a and NAME/b"),
        (
            {"x/a": A, "x/b": torch.ones(5, 7)},
            "GEMM 'x': 'x/a' is [4, 6], 'x/b' [5, 7]; the last dimension d must be the same",
        ),
        (
            {"x/a": torch.ones(2, 4, 6), "x/b": torch.ones(3, 5, 6)},
            "GEMM 'x': 'x/a' is [2, 4, 6], 'x/b' [3, 5, 6]; the batch must be the same",
        ),
        (
            {"x/a": torch.ones(1, 4, 6), "x/b": B},
            "GEMM 'x': 'x/a' is [1, 4, 6], 'x/b' [5, 6]; expected both with a batch dimension, "
            "or both without",
        ),
        (
            {"x/a": torch.ones(6), "x/b": B},
            "tensor 'x/a': found shape [6]; expected [rows, d] or [batch, rows, d]",
        ),
        (
            {"x/a": A, "x/b": torch.ones(1, 1, 5, 6)},
            "tensor 'x/b': found shape [1, 1, 5, 6]; expected [rows, d] or [batch, rows, d]",
        ),
        (
            {"x/a": A, "x/b": B.to(torch.int8)},
            "tensor 'x/b': found type I8; operands are F32, F16, BF16",
        ),
        (
            {"x/a": A.double(), "x/b": B.double()},
            "tensor 'x/a': found type F64; operands are F32, F16, BF16",
        ),
        (
            {"A": A, "B": B, "tiny/a": A, "tiny/b": B},
            "GEMM 'tiny' appears twice; expected unique names",
        ),
    ],
)
def test_faults_of_tensors(write, tensors, expected):
    assert message(write(tensors)) == expected


M = "metadata 'accelsim': "


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("[1]", "found [1]; expected an object"),
        ('{"gemms": []}', "schema: found none; expected 1"),
        ('{"schema": 2, "gemms": []}', "schema: found 2; expected 1"),
        ('{"schema": true, "gemms": []}', "schema: found true; expected 1"),
        ('{"schema": 1, "schema": 1}', "'schema' appears twice"),
        (described(source=[1]), "source: found [1]; expected an object"),
        (described(gemms={}), "gemms: found {}; expected a list"),
        (described(3), "gemms[0]: found 3; expected an object"),
        (described(gemm(name="")), "gemms[0].name: is empty"),
        (described(gemm(name=7)), "gemms[0].name: found 7; expected text"),
        (described(gemm(), gemm(layer=3)), "gemms[1].layer: found 3; expected text"),
        (described({"name": "x"}), "gemms[0].op: found nothing; expected text"),
        (
            described(gemm(name=["y" * 50])),
            f'gemms[0].name: found ["{"y" * 35}...; expected text',
        ),
        (
            described(gemm(op="qkv")),
            "gemms[0].op: unknown op 'qkv'; did you mean 'qk'? (known: linear, pv, qk)",
        ),
        (
            described(gemm(phase="backward")),
            "gemms[0].phase: unknown phase 'backward' (known: forward, grad_input, grad_weight)",
        ),
    ],
)
def test_faults_of_metadata(write, metadata, expected):
    metadata = metadata if isinstance(metadata, dict) else {"accelsim": metadata}
    assert message(write({"x/a": A, "x/b": B}, metadata)) == M + expected


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000])
def test_metadata_that_is_not_json(write, text):
    assert message(write({"x/a": A, "x/b": B}, {"accelsim": text})).startswith(f"{M}not JSON: ")


@pytest.mark.parametrize(
    ("gemms", "expected"),
    [
        (
            [gemm("z")],
            "incomplete pair: tensor 'z/a' is missing; expected both operands of every GEMM "
            "(there are: x/a, x/b)",
        ),
        ([gemm(), gemm()], "GEMM 'x' appears twice; expected unique names"),
        ([], "holds no GEMM; expected pairs of tensors NAME/a and NAME/b"),
    ],
)
def test_metadata_that_contradicts_the_tensors(write, gemms, expected):
    assert message(write({"x/a": A, "x/b": B}, described(*gemms))) == expected


def test_a_bundle_that_vanishes_after_it_was_opened(write):
    path = write({"x/a": A, "x/b": B})
    (gemm,) = open_bundle(path).gemms
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        gemm.load()
    path.write_bytes(b"garbage")
    with pytest.raises(InputError, match="cannot be read"):
        gemm.load()
