"""Sources of workloads: those that there are, and paths in them."""

from pathlib import Path
from typing import ClassVar

import pytest
import torch
from pydantic import ValidationError

from accelsim.errors import InputError
from workloads import Synthetic, write_bundle
from workloads.paths import from_folder
from workloads.sources import (
    BundleSource,
    EntryError,
    SyntheticSource,
    WorkloadSource,
    registry,
)


@pytest.fixture
def bundle(tmp_path):
    gemms = [Synthetic(n=2, d=3, h=4, name=name).gemm() for name in ("x.q", "x.k", "y.q")]
    (tmp_path / "sub").mkdir()
    write_bundle(tmp_path / "sub" / "tiny.safetensors", gemms, {})
    return BundleSource(bundle="../sub/tiny.safetensors")


def test_both_sources_are_registered():
    assert registry.get("bundle") is BundleSource
    assert registry.get("synthetic") is SyntheticSource


def test_a_bundle_starts_from_the_folder(bundle, tmp_path):
    gemms = bundle.open(tmp_path / "sub")
    assert [gemm.id for gemm in gemms] == ["tiny/x.q", "tiny/x.k", "tiny/y.q"]


def test_globs_choose(bundle, tmp_path):
    some = bundle.model_copy(update={"gemms": ["y.*", "*.k"]})
    assert [gemm.name for gemm in some.open(tmp_path / "sub")] == ["x.k", "y.q"]


def test_the_glob_that_matches_nothing_is_blamed(bundle, tmp_path):
    some = bundle.model_copy(update={"gemms": ["*", "z"]})
    with pytest.raises(EntryError, match="no GEMM matches 'z'") as caught:
        some.open(tmp_path / "sub")
    assert caught.value.loc == ("gemms", 1)


def test_a_missing_bundle(bundle, tmp_path):
    with pytest.raises(InputError) as caught:
        bundle.open(tmp_path)
    expected = tmp_path.parent / "sub" / "tiny.safetensors"
    assert str(caught.value) == f"{expected}: there is no such file"


def test_a_single_glob_is_a_list_of_one():
    assert BundleSource(bundle="x", gemms="*.qk").gemms == ["*.qk"]
    with pytest.raises(ValidationError):
        BundleSource(bundle="x", gemms=[])


def test_a_synthetic_gemm():
    source = SyntheticSource(synthetic=Synthetic(n=2, d=3, h=4))
    (gemm,) = source.open(Path("anywhere"))
    assert torch.equal(gemm.load()[0], source.synthetic.gemm().load()[0])


@pytest.mark.parametrize(
    ("folder", "path", "expected"),
    [
        ("configs", "x.yaml", "configs/x.yaml"),
        ("configs", "../data/x", "data/x"),
        (".", "../x", "../x"),
        ("configs", "/data/x", "/data/x"),
    ],
)
def test_paths_are_short(folder, path, expected):
    assert from_folder(Path(folder), path) == Path(expected)


def test_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert from_folder(Path("configs"), "~/x") == Path("/home/somebody/x")


def test_a_link_is_followed_before_dot_dot(tmp_path):
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "real" / "x").write_text("")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real" / "inner")
    assert from_folder(link, "../x").is_file()


def source(**body):
    return type(WorkloadSource)("Mine", (WorkloadSource,), {"__module__": __name__, **body})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"open": BundleSource.open}, "Mine has no key"),
        ({"key": 3, "open": BundleSource.open}, "Mine has no key"),
        ({"key": "rows", "open": BundleSource.open}, r"one of its fields \(none\), got 'rows'"),
        ({"key": "rows", "__annotations__": {"key": ClassVar[str], "rows": int}}, "has no open"),
    ],
)
def test_a_source_is_checked_when_it_is_defined(body, message):
    if not isinstance(body.get("key", ""), str) or "__annotations__" not in body:
        body = {"__annotations__": {"key": ClassVar[str]}, **body}
    with pytest.raises(TypeError, match=message):
        source(**body)


def test_an_entry_is_recorded_as_it_was_written():
    entry = BundleSource(bundle="x")
    assert entry.to_record() == {"bundle": "x", "gemms": ["*"]}
    entry.come_from("mine.py:Mine")
    assert entry.to_record() == {"source": "mine.py:Mine", "bundle": "x", "gemms": ["*"]}


@pytest.fixture
def heads(tmp_path):
    gemm = Synthetic(n=2, d=3, h=4, batch=2, name="x.qk").gemm()
    write_bundle(tmp_path / "heads.safetensors", [gemm], {})
    return gemm.load()


def test_a_tile_repeats_rows_and_columns_with_heads_as_rows(heads, tmp_path):
    source = BundleSource(bundle="heads.safetensors", tile={"n": 9, "d": 5, "h": 3})
    (gemm,) = source.open(tmp_path)
    assert (gemm.name, gemm.batch, gemm.n, gemm.d, gemm.h) == ("x.qk@9x5x3", 1, 9, 5, 3)
    a, b = gemm.load()
    assert (a.shape, b.shape) == ((9, 5), (3, 5))
    rows = heads[0].reshape(4, 3)
    for row in range(9):
        for column in range(5):
            assert a[row, column] == rows[row % 4, column % 3]
    assert torch.equal(b[:, :3], heads[1].reshape(8, 3)[:3])


@pytest.mark.parametrize(
    ("tile", "shape"), [({"d": 7}, (4, 7, 8)), ({"n": 1}, (1, 3, 8)), ({"n": 5, "h": 9}, (5, 3, 9))]
)
def test_a_dimension_that_a_tile_leaves_out_keeps_its_size(heads, tmp_path, tile, shape):
    (gemm,) = BundleSource(bundle="heads.safetensors", tile=tile).open(tmp_path)
    assert (gemm.n, gemm.d, gemm.h) == shape
    assert gemm.name == "x.qk@{}x{}x{}".format(*shape)
    a, b = gemm.load()
    n, d, h = shape
    rows = [heads[0].reshape(4, 3), heads[1].reshape(8, 3)]
    for found, whole, size in zip((a, b), rows, (n, h), strict=True):
        picked = whole[torch.arange(size) % len(whole)][:, torch.arange(d) % 3]
        assert torch.equal(found, picked)


def test_a_tile_has_a_dimension():
    with pytest.raises(ValidationError, match="at least one of n, d and h"):
        BundleSource(bundle="heads.safetensors", tile={})


def test_operands_may_be_rounded_when_they_are_read(heads, tmp_path):
    (gemm,) = BundleSource(bundle="heads.safetensors", dtype="bfloat16").open(tmp_path)
    assert torch.equal(gemm.load()[0], heads[0].bfloat16())


def test_an_empty_gemm_fills_no_tile(tmp_path):
    write_bundle(tmp_path / "none.safetensors", [Synthetic(n=0, d=3, h=4).gemm()], {})
    source = BundleSource(bundle="none.safetensors", tile={"n": 9, "d": 5, "h": 3})
    with pytest.raises(EntryError, match="is empty and fills no tile") as caught:
        source.open(tmp_path)
    assert caught.value.loc == ("tile",)
