"""The bundles that ship: small, real, varied, and as their README describes them."""

from pathlib import Path

import pytest

from accelsim.arithmetic.rounding import alpha
from accelsim.errors import InputError
from workloads import bundle_path, open_bundle, shipped_bundles

BUNDLES = [open_bundle(path) for path in shipped_bundles()]
GEMMS = [gemm for bundle in BUNDLES for gemm in bundle.gemms]


def ratio(x):
    return float(alpha(x.flatten(), 100) / alpha(x.flatten(), 95))


def test_they_are_small():
    assert sum(path.stat().st_size for path in shipped_bundles()) < 4_000_000


def test_source_and_licence_are_noted():
    for bundle in BUNDLES:
        assert {"model", "package", "license", "text", "crop"} <= set(bundle.source)


def test_forward_and_backward_linear_and_attention_are_there():
    kinds = {(gemm.op == "linear", gemm.phase == "forward") for gemm in GEMMS}
    assert kinds == {(True, True), (True, False), (False, True), (False, False)}
    assert {gemm.op for gemm in GEMMS} == {"linear", "qk", "pv"}


def test_some_have_massive_heavy_hitters():
    heavy = [gemm.name for gemm in GEMMS if max(map(ratio, gemm.load())) > 100]
    assert heavy == ["smollm2.pv", "smollm2.down"]


def test_names_are_unique_over_all_bundles():
    assert len({gemm.name for gemm in GEMMS}) == len(GEMMS)


@pytest.mark.parametrize("gemm", GEMMS, ids=lambda gemm: gemm.name)
def test_operands_are_finite_and_as_the_readme_says(gemm):
    gemm.check_finite()
    readme = (Path(shipped_bundles()[0]).parent / "README.md").read_text()
    shapes = [" × ".join(map(str, shape)) for shape in (gemm.shapes.a, gemm.shapes.b)]
    ratios = ", ".join(f"{ratio(x):.1f}" for x in gemm.load())
    cells = [f"`{gemm.name}`", gemm.op, gemm.phase, *shapes, ratios]
    assert f"| {' | '.join(cells)} |" in readme


def test_a_missing_path_to_a_shipped_bundle_says_its_name(tmp_path):
    with pytest.raises(InputError, match=r"data/minilm\.safetensors: .* by its name: minilm"):
        bundle_path(tmp_path, "data/minilm.safetensors")
    other = bundle_path(tmp_path, "other.safetensors")
    assert other == tmp_path / "other.safetensors"
