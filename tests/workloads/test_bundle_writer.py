"""Bundles that are written: round trips, determinism, and memory."""

import dataclasses
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from accelsim.errors import InputError
from workloads import OPS, PHASES, Gemm, Synthetic, open_bundle, write_bundle

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def make(name, a, b, op="linear", layer="", phase="forward"):
    batched = a.ndim == 3
    return Gemm(
        workload="made",
        name=name,
        op=op,
        layer=layer,
        phase=phase,
        batch=a.shape[0] if batched else 1,
        n=a.shape[-2],
        d=a.shape[-1],
        h=b.shape[-2],
        load=lambda: (a, b),
        batched=batched,
    )


@st.composite
def gemms(draw):
    size = st.integers(0, 5)
    lead = draw(st.one_of(st.just(()), st.tuples(size)))
    d = draw(size)
    a, b = (torch.randn((*lead, draw(size), d)).to(draw(st.sampled_from(DTYPES))) for _ in range(2))
    return make(
        draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)),
        a,
        b,
        draw(st.sampled_from(OPS)),
        draw(st.sampled_from(["", "3", "model.layers.3"])),
        draw(st.sampled_from(PHASES)),
    )


@settings(deadline=None)
@given(
    st.lists(gemms(), min_size=1, max_size=4, unique_by=lambda gemm: gemm.name),
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers()),
)
def test_round_trip(tmp_path_factory, written, source):
    path = tmp_path_factory.mktemp("round") / "trip.safetensors"
    write_bundle(path, written, source)
    bundle = open_bundle(path)
    assert bundle.source == source
    for found, expected in zip(bundle.gemms, written, strict=True):
        for field in ("name", "op", "layer", "phase", "batch", "n", "d", "h", "batched"):
            assert getattr(found, field) == getattr(expected, field)
        for x, y in zip(found.load(), expected.load(), strict=True):
            assert x.dtype == y.dtype
            assert torch.equal(x, y)


def test_safetensors_itself_reads_it(tmp_path):
    a, b = torch.randn(3, 1), torch.randn(2, 1)
    write_bundle(tmp_path / "x.safetensors", [make("x", a, b)], {})
    found = load_file(tmp_path / "x.safetensors")
    assert torch.equal(found["x/a"], a)
    assert torch.equal(found["x/b"], b)


def test_operands_that_are_not_contiguous(tmp_path):
    a, b = torch.randn(6, 4).T, torch.randn(10, 12)[::2, ::2]
    write_bundle(tmp_path / "x.safetensors", [make("x", a, b)], {})
    (gemm,) = open_bundle(tmp_path / "x.safetensors").gemms
    assert torch.equal(gemm.load()[0], a)
    assert torch.equal(gemm.load()[1], b)


def test_the_same_gemms_give_the_same_bytes(tmp_path):
    gemms = [Synthetic(n=3, d=5, h=2, name=name).gemm() for name in "ab"]
    paths = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    for path in paths:
        write_bundle(path, gemms, {"model": "m"})
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_one_gemm_is_in_memory_at_a_time(tmp_path):
    alive = set()
    most = 0

    def load():
        nonlocal most
        pair = torch.ones(2, 3), torch.ones(4, 3)
        for tensor in pair:
            alive.add(id(tensor))
            weakref.finalize(tensor, alive.discard, id(tensor))
        most = max(most, len(alive))
        return pair

    base = make("x", torch.ones(2, 3), torch.ones(4, 3))
    gemms = [dataclasses.replace(base, name=str(i), load=load) for i in range(5)]
    write_bundle(tmp_path / "x.safetensors", gemms, {})
    assert most == 2


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"load": lambda: (torch.ones(2, 3), torch.ones(4, 3, dtype=torch.int8))},
            "tensor 'x/b': found torch.int8; operands are float32, float16, bfloat16",
        ),
        (
            {"load": lambda: (torch.ones(3, 2), torch.ones(4, 3))},
            "tensor 'x/a': found shape [3, 2]; expected [2, 3]",
        ),
    ],
)
def test_operands_that_a_bundle_cannot_hold(tmp_path, changes, expected):
    path = tmp_path / "x.safetensors"
    path.write_text("old")
    gemm = dataclasses.replace(make("x", torch.ones(2, 3), torch.ones(4, 3)), **changes)
    with pytest.raises(InputError) as caught:
        write_bundle(path, [gemm], {})
    assert str(caught.value) == f"{path}: {expected}"
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]
    assert path.read_text() == "old"


def test_a_name_that_appears_twice(tmp_path):
    gemm = make("x", torch.ones(2, 3), torch.ones(4, 3))
    with pytest.raises(InputError, match="GEMM 'x' appears twice; expected unique names"):
        write_bundle(tmp_path / "x.safetensors", [gemm, gemm], {})


def test_a_folder_that_does_not_exist(tmp_path):
    path = tmp_path / "no" / "x.safetensors"
    with pytest.raises(InputError) as caught:
        write_bundle(path, [], {})
    assert str(caught.value) == f"{path}: cannot be written: No such file or directory"
