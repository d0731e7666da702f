"""Shape-only models, and synthetic operands with measured heavy hitters."""

import numpy as np
import pytest
import torch
from small_models import ids, language, loss

from accelsim.errors import InputError
from workloads import Synthetic, open_bundle, shipped_bundles
from workloads.capture import Capture, Sampling
from workloads.models.catalog import Shapes, find
from workloads.models.shapes import layers, shape_gemms
from workloads.profile import (
    TAILS,
    Drawing,
    OperandProfile,
    measure,
    read_profile,
    shipped_profile,
    write_profile,
)


def test_a_model_has_the_gemms_that_its_dimensions_say():
    """The same shapes as capture finds in a real model of these dimensions."""
    model = language(kv_heads=2)
    with Capture(model) as seen:
        loss(model(ids()), ids()).backward()
    found = sorted((gemm.described.op, gemm.described.phase, gemm.a, gemm.b) for gemm in seen.gemms)
    shapes = Shapes(layers=2, width=12, heads=4, kv_heads=2, mlp=24, outputs=30)
    gemms = shape_gemms("x", shapes, shipped_profile(), 2, 7, Sampling())
    assert sorted((g.op, g.phase, g.shapes.a, g.shapes.b) for g in gemms) == found
    assert len({gemm.name for gemm in gemms}) == len(gemms)
    for gemm in gemms[:10]:
        a, b = gemm.load()
        assert (a.shape, b.shape) == (gemm.shapes.a, gemm.shapes.b)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        # Parameters in linear layers, embeddings apart: the models' published sizes.
        ("llama-2-7b", 6.74 - 0.13),
        ("llama-2-70b", 68.98 - 0.26),
        ("llama-3-8b", 8.03 - 0.53),
        ("mistral-7b", 7.24 - 0.13),
        ("t5-large", 0.737),
        ("roberta-base", 0.125),
        ("vit-l-16", 0.304),
    ],
)
def test_sizes_are_the_published_ones(name, billions):
    shapes = find(name).shapes
    weights = sum(layer.d * layer.h for layer in layers(shapes, 1, 8) if layer.op == "linear")
    assert weights / 1e9 == pytest.approx(billions, rel=0.01)


def normal(n, d, **options):
    return Synthetic(n=n, d=d, h=4, **options).gemm()


@pytest.mark.parametrize("where", ["columns", "rows", "scattered"])
def test_what_is_drawn_has_the_heavy_hitters_that_were_measured(where):
    heavy = {"fraction": 0.02, "scale": 40.0, "where": where}
    gemm = normal(256, 300, heavy_hitters=heavy)
    real, _ = gemm.load()
    profile = measure([gemm])["linear/forward/a"]
    drawn = Drawing(profile, (256, 300), signed=True, key="x").draw()
    again = measure([_gemm_of(drawn)])["linear/forward/a"]
    inner = slice(TAILS.index(1e-3), -1)
    found, expected = np.array(again.quantiles), np.array(profile.quantiles)
    assert found[inner] == pytest.approx(expected[inner], rel=0.3)
    assert again.rows == pytest.approx(profile.rows, abs=0.05)
    assert again.columns == pytest.approx(profile.columns, abs=0.05)
    assert 0.45 < float((drawn > 0).float().mean()) < 0.55
    assert float(real.abs().max()) > 50


def _gemm_of(a):
    gemm = normal(*a.shape)
    return type(gemm)(**{**gemm.__dict__, "load": lambda: (a, torch.ones(4, a.shape[1]))})


def test_probabilities_have_no_sign_and_keep_their_zeros():
    profile = shipped_profile()["pv/forward/a"]
    assert profile.quantiles[TAILS.index(0.75)] == 0
    drawn = Drawing(profile, (2, 64, 64), signed=False, key="x").draw()
    assert float(drawn.min()) == 0
    assert float((drawn == 0).float().mean()) > 0.25
    assert torch.equal(drawn, Drawing(profile, (2, 64, 64), False, "x").draw())
    assert not torch.equal(drawn, Drawing(profile, (2, 64, 64), False, "y").draw())


def test_the_shipped_profile_has_every_kind_of_operand():
    kinds = {
        f"{op}/{phase}/{side}"
        for op in ("linear", "qk", "pv")
        for phase in ("forward", "grad_input", "grad_weight")
        for side in "ab"
    }
    assert set(shipped_profile()) == kinds


def test_files(tmp_path):
    bundle = open_bundle(shipped_bundles()[0])
    profile = measure(bundle.gemms)
    write_profile(tmp_path / "x.json", profile, bundle.source)
    assert read_profile(tmp_path / "x.json") == profile
    (tmp_path / "y.json").write_text('{"operands": {"linear/forward/a": {"quantiles": [1]}}}')
    for name in ("y.json", "z.json"):
        with pytest.raises(InputError, match="is not a profile"):
            read_profile(tmp_path / name)


def test_cropping():
    shapes = find("llama-2-7b").shapes
    sampling = Sampling(gemms=["layers.3.attention.qk*", "head"], rows=5, heads=2)
    gemms = shape_gemms("x", shapes, shipped_profile(), 1, 16, sampling)
    assert [(g.name, g.shapes.a, g.shapes.b) for g in gemms] == [
        ("layers.3.attention.qk", (2, 5, 128), (2, 5, 128)),
        ("layers.3.attention.qk.dq", (2, 5, 16), (2, 5, 16)),
        ("layers.3.attention.qk.dk", (2, 5, 16), (2, 5, 16)),
        ("head", (5, 4096), (5, 4096)),
    ]


def test_a_profile_is_checked():
    with pytest.raises(ValueError, match="quantiles"):
        OperandProfile(quantiles=(1.0,), rows=0.0, columns=0.0)
