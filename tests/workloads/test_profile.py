"""Profiles of heavy hitters, and operands drawn from them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from accelsim.errors import InputError
from workloads import Synthetic, open_bundle, shipped_bundles
from workloads.drawing import Drawing
from workloads.models.drawn import drawn_gemm
from workloads.profile import (
    CLASSES,
    LINES,
    SHIPPED,
    TAILS,
    OperandProfile,
    bounds,
    find,
    keys,
    measure,
    read_profile,
    shipped_profile,
    write_profile,
)
from workloads.roles import ROLES, role_of


def gemm_of(a, name="x", op="linear"):
    gemm = Synthetic(n=a.shape[-2], d=a.shape[-1], h=4, name=name).gemm()
    b = torch.ones(*a.shape[:-2], 4, a.shape[-1])
    return replace(gemm, op=op, load=lambda: (a, b), batched=a.ndim == 3)


def profile_of(*operands, name="x"):
    return measure([gemm_of(a, name) for a in operands])["linear/forward/a"]


def heavy(where, n=512, d=600):
    options = {"fraction": 0.02, "scale": (20.0, 25.0), "where": where}
    a, _ = Synthetic(n=n, d=d, h=4, heavy_hitters=options).gemm().load()
    return a


def largest(x, axis):
    """The largest magnitudes of rows (0) or columns (1), the largest first, over α_95."""
    magnitudes = x.abs() / torch.quantile(x.abs().flatten(), 0.95)
    return magnitudes.amax(1 - axis).sort(descending=True).values.numpy()


@pytest.mark.parametrize("where", ["columns", "rows", "scattered"])
def test_rows_and_columns_reach_as_far_as_those_that_were_measured(where):
    real = heavy(where)
    drawn = Drawing(profile_of(real), tuple(real.shape), signed=True, key="x").draw()
    for axis in (0, 1):
        for share in (0.005, 0.015, 0.05, 0.2, 0.5, 0.9):
            index = int(share * real.shape[axis])
            found, expected = (largest(x, axis)[index] for x in (drawn, real))
            assert found == pytest.approx(expected, rel=0.25), (axis, share)
    assert 0.48 < float((drawn > 0).float().mean()) < 0.52
    assert float(drawn.abs().max()) <= 1.001 * largest(real, 0)[0]


def test_a_profile_without_classes_would_be_seen():
    """Entries in random order have heavy hitters in every row and column."""
    real = heavy("columns")
    mixed = real.flatten()[torch.randperm(real.numel())].reshape(real.shape)
    assert largest(mixed, 1)[300] > 3 * largest(real, 1)[300]


def test_what_is_measured_is_drawn_and_measured_again():
    profile = profile_of(heavy("columns"))
    drawn = Drawing(profile, (512, 600), signed=True, key="x").draw()
    cells, again = (np.array(p.cells) for p in (profile, profile_of(drawn)))
    # Columns of a class are drawn alike, so that those at its end are ranked a little higher.
    inner = slice(TAILS.index(0.05), TAILS.index(0.75))
    assert again[3:, 3:, inner] == pytest.approx(cells[3:, 3:, inner], rel=0.25)


@pytest.mark.parametrize("lines", [1, 2, 5, 64, 256, 4096, 11008])
def test_classes_have_their_shares_of_lines(lines):
    found = bounds(lines)
    assert (found[0], found[-1]) == (0, lines)
    for share, end in zip(LINES, found, strict=True):
        assert abs(end - share * lines) <= 0.5


def test_a_single_row_is_a_usual_one():
    a = torch.randn(1000, 64)
    a[:20] *= 100
    drawn = Drawing(profile_of(a), (1, 64), signed=True, key="x").draw()
    assert float(drawn.abs().max()) < 10


def test_classes_that_no_operand_had_are_like_the_nearest():
    profile = profile_of(torch.randn(3, 5))
    assert np.isfinite(np.array(profile.cells)).all()
    assert profile.cells[0] == profile.cells[3]
    assert Drawing(profile, (700, 900), signed=True, key="x").draw().isfinite().all()


def test_gemms_of_one_kind_share_the_mean_and_a_batch_is_one_of_them():
    one, ten = torch.ones(40, 50), torch.ones(40, 50)
    ten[0] = 10  # 2% of the entries: the class from 1 to 3% of the rows
    batch = torch.stack([ten, ten, one])
    found = profile_of(one, batch).cells
    assert found[2][-1][0] == pytest.approx((1 + (10 + 10 + 1) / 3) / 2, rel=1e-3)
    assert found[3][-1][0] == 1


def test_operands_that_are_mostly_zeros_are_left_out():
    zeros = torch.zeros(40, 50)
    zeros[0, 0] = 3
    assert "linear/forward/a" not in measure([gemm_of(zeros)])
    assert profile_of(zeros, torch.ones(40, 50)).cells[0][0][0] == 1
    assert "linear/forward/a" not in measure([gemm_of(torch.zeros(0, 50))])


def test_large_values_do_not_overflow():
    a = torch.randn(64, 64) * 1e30
    assert profile_of(a).cells == profile_of(a / 1e30 * 1).cells or np.allclose(
        np.array(profile_of(a).cells), np.array(profile_of(a / 1e30).cells), rtol=1e-3
    )


def test_probabilities_have_no_sign_and_most_of_them_are_next_to_nothing():
    profile = shipped_profile()["pv/forward/a"]
    drawn = Drawing(profile, (2, 64, 64), signed=False, key="x").draw()
    assert float(drawn.min()) == 0
    assert float((drawn < 0.05).float().mean()) > 0.5
    assert torch.equal(drawn, Drawing(profile, (2, 64, 64), False, "x").draw())
    assert not torch.equal(drawn, Drawing(profile, (2, 64, 64), False, "y").draw())


def test_what_is_drawn_does_not_depend_on_the_number_of_threads():
    drawing = Drawing(shipped_profile()["linear/forward/a"], (3000, 4096), True, "x")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = drawing.draw()
        torch.set_num_threads(3)
        assert torch.equal(drawing.draw(), one)
    finally:
        torch.set_num_threads(before)


def test_the_shipped_profile_has_every_kind_of_operand():
    kinds = {
        f"{op}/{phase}/{side}{role}"
        for op in ("linear", "qk", "pv")
        for phase in ("forward", "grad_input", "grad_weight")
        for side in "ab"
        for role in ("", *(f"/{role}" for role in ROLES if op == "linear"))
    }
    assert set(shipped_profile()) == kinds


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("model.layers.3.self_attn.q_proj", "qkv"),
        ("model.layers.3.self_attn.k_proj.dw", "qkv"),
        ("layers.0.attention.v", "qkv"),
        ("decoder.1.cross_attention.o.dx", "o"),
        ("encoder.layer.2.attention.self.query", "qkv"),
        ("encoder.layer.2.attention.output.dense", "o"),
        ("encoder.layer.2.intermediate.dense.dx", "up"),
        ("encoder.layer.2.output.dense", "down"),
        ("layers.0.gate", "up"),
        ("model.layers.0.mlp.up_proj.MatMul", "up"),
        ("lm_head", "head"),
        ("head", "head"),
        ("minilm.up.dx", "up"),
        ("head.dense", None),
        ("patches", None),
        ("transformer.h.0.attn.c_attn", "qkv"),
        ("overhead", None),
        ("keyboard", None),
        ("conv1", None),
    ],
)
def test_roles(name, role):
    assert role_of(name) == role


def test_the_nearest_profile_is_found():
    profile = shipped_profile()
    assert keys("qk", "forward", "a", "layers.0.q") == ["qk/forward/a"]
    assert find(profile, "linear", "forward", "a", "x.down") is profile["linear/forward/a/down"]
    assert find(profile, "linear", "forward", "a", "conv1") is profile["linear/forward/a"]
    general = {"linear/forward/a": profile["linear/forward/a"]}
    assert find(general, "linear", "forward", "a", "x.down") is general["linear/forward/a"]
    with pytest.raises(InputError, match=r"has no linear/grad_input/b, which x\.down\.dx needs"):
        find(general, "linear", "grad_input", "b", "x.down.dx")
    with pytest.raises(InputError, match=r"has no linear/forward/b, which .*it has: linear/forw"):
        drawn_gemm("w", "n", "linear", "", "forward", None, (4, 4, 4), general)


def test_gemms_of_one_kind_have_one_key_whatever_their_names():
    def key(name, shape=(8, 16, 8)):
        gemm = drawn_gemm("w", name, "linear", "", "forward", None, shape, shipped_profile())
        return gemm.sketch.key

    assert key("layers.0.q") == key("layers.1.v") != key("layers.1.down")
    assert key("layers.0.q") != key("layers.0.q", (8, 16, 9))


def test_files(tmp_path):
    bundle = open_bundle(shipped_bundles()[0])
    profile = measure(bundle.gemms)
    write_profile(tmp_path / "x.json", profile, bundle.source)
    assert read_profile(tmp_path / "x.json") == profile
    assert json.loads((tmp_path / "x.json").read_text())["source"] == bundle.source
    with pytest.raises(InputError, match=r"none\.json: is not a profile as `accelsim workloads"):
        read_profile(tmp_path / "none.json")


def content():
    return json.loads(SHIPPED.read_text())


def first(found):
    return found["operands"]["linear/forward/a"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.update(operands={"linear/forward/a": {"quantiles": [1]}}), "not a profile"),
        (lambda x: x.pop("operands"), "not a profile"),
        (lambda x: x.pop("format"), "is a profile of format 1; expected format 2, as `accelsim"),
        (lambda x: x.update(format=3), "is a profile of format 3; expected format 2"),
        (lambda x: x["lines"].pop(), "expected format 2"),
        (lambda x: x["tails"].pop(), "expected format 2"),
        (lambda x: first(x).pop(), f"at least {CLASSES} items"),
        (lambda x: first(x)[0].pop(), f"at least {CLASSES} items"),
        (lambda x: first(x)[0][0].pop(), f"at least {len(TAILS)} items"),
        (lambda x: first(x)[0][0].__setitem__(12, -1), "greater than or equal to 0"),
        (lambda x: first(x)[0][0].__setitem__(12, float("nan")), "finite"),
        (lambda x: first(x)[0][0].__setitem__(12, 1e9), "quantiles rise"),
    ],
)
def test_a_profile_is_checked(tmp_path, change, message):
    found = content()
    change(found)
    (tmp_path / "x.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match=message):
        read_profile(tmp_path / "x.json")


def test_a_profile_of_the_first_format_is_refused_with_the_way_to_a_new_one(tmp_path):
    """It had one distribution for all rows and columns of an operand."""
    old = {"quantiles": [1.0] * 15, "rows": 0.1, "columns": 0.1}
    text = json.dumps({"source": {}, "tails": [0, 1], "operands": {"linear/forward/a": old}})
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"format 1; expected format 2, .*profile BUNDLE -o FILE"):
        read_profile(tmp_path / "x.json")


def test_quantiles_that_rise_are_no_profile():
    cell = [float(i) for i in range(len(TAILS))]
    with pytest.raises(ValueError, match="rise"):
        OperandProfile(cells=[[cell] * CLASSES] * CLASSES)
