"""Shape-only models."""

import pytest
from small_models import ids, language, loss

from workloads.capture import Capture, Sampling
from workloads.models.catalog import Shapes, find
from workloads.models.shapes import layers, shape_gemms
from workloads.profile import shipped_profile


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
