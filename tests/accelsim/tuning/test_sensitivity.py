"""One kind of operand of one place in integers: what is measured, and that it is found."""

import pytest
import torch

from accelsim.arithmetic.rounding import quantize
from accelsim.errors import InputError
from accelsim.records import RunFolder
from accelsim.records.tuning import SensitivityRecord
from accelsim.report.figures.sensitivity import draw_heat_map, draw_local_errors
from accelsim.report.sensitivity import correlation, sensitivity_rows, spot
from accelsim.tuning.alone import RoundedAlone
from accelsim.tuning.places import chain, survey
from accelsim.tuning.prefix import Prefix
from accelsim.tuning.ratios import ratio_of, sampled
from accelsim.tuning.sensitivity import Examination, Examined, examine, settings_hash
from accelsim.types import Rounding
from accelsim.unpack import DigitSystem, IntegerOperand, load_strategy


def run(subject, examination, path, said=None, **how):
    settings = examination.to_dict(subject)
    with RunFolder.open(
        path, settings, settings_hash(settings), kind=SensitivityRecord, **how
    ) as folder:
        lines = [] if said is None else said
        found = examine(subject, examination, folder, lines.append)
        folder.finish("")
    return found


def test_places_and_what_runs_before_them(subject):
    (reading,) = subject.readings(1, 16)
    places = {place.name: place for place in survey(subject.model, reading.run)}
    assert len(places) == 3 * (7 + 2) + 1
    down = places["model.layers.1.mlp.down_proj"]
    (gemm,) = down.gemms
    assert (gemm.kinds.a, gemm.kinds.b, gemm.n, gemm.d, gemm.h) == (
        "activations", "weights", 16, 48, 32,
    )  # fmt: skip
    assert down.before == {"model.layers.0"}
    assert places["model.layers.0.self_attn.qk"].distinct_kinds == ("attention",)
    assert places["lm_head"].before == {f"model.layers.{i}" for i in range(3)}


def test_replaying_changes_nothing_and_is_undone(subject):
    (reading,) = subject.readings(1, 16)
    modules = chain(subject.model)
    prefix = Prefix(modules, reading.run)
    expected = reading.run().logits
    with prefix.replayed(frozenset(modules)):
        with torch.no_grad():
            modules["model.layers.0"].mlp.down_proj.weight.mul_(2)
        assert torch.equal(reading.run().logits, expected)
        assert reading.harm().divergence == 0
    assert not torch.equal(reading.run().logits, expected)


@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj", "lm_head"])
def test_a_weight_alone_is_the_model_with_that_weight(subject, name):
    examined = Examined(subject, Examination(tokens=16, gemms=(name,)))
    (place,) = examined.places
    record = examined.record(place, "weights", 15)
    (reading,) = subject.readings(1, 16)
    weight = subject.model.get_submodule(name).weight
    with torch.no_grad():
        found = quantize(weight, 95, 15, "row", "nonzero")
        weight.copy_(found.values / found.scale)
    harm = reading.harm()
    assert record.divergence == pytest.approx(harm.divergence, rel=1e-3)
    assert record.loss == pytest.approx(harm.loss, rel=1e-3)
    assert (record.sides, record.local_error > 0) == (["b"], True)


def test_the_planted_layer_is_found_and_local_errors_alone_do_not_tell(subject, tmp_path):
    examination = Examination(betas=(15,), tokens=16, gemms=("model.layers.*",))
    records = run(subject, examination, tmp_path / "run")
    harm, error = ([0.0] * 3, [0.0] * 3)
    for record in records:
        harm[spot(record.gemm).layer] += record.divergence
        error[spot(record.gemm).layer] += record.local_error
    assert harm[1] > 20 * max(harm[0], harm[2])
    assert error[1] < 2 * min(error[0], error[2])
    found = correlation(records)
    assert found.points >= len(records) - 2
    rows = sensitivity_rows(records)
    assert sum(row["divergence, sum"] for row in rows) == pytest.approx(
        sum(record.divergence for record in records)
    )
    for name, draw in (("map", draw_heat_map), ("errors", draw_local_errors)):
        draw(records, tmp_path / f"{name}.svg")
        assert (tmp_path / f"{name}.svg").stat().st_size > 1000


def test_the_predicted_ratio_is_the_counted_one():
    torch.manual_seed(0)
    x = torch.randn(3, 40, 48)
    x.view(-1)[::37] *= 30
    ones = torch.ones(3, 20, 48, dtype=torch.int32)
    system = DigitSystem("balanced", 4)
    found = quantize(x, 95, 15)
    outside = float(system.out_of_bound(found.values).double().mean())
    for name in ("block", "row", "mix"):
        strategy = load_strategy(name, 16)
        for side in ("a", "b"):
            operands = {side: found.values, "b" if side == "a" else "a": ones}
            problem = strategy.unpack(
                *(IntegerOperand(operands[each], system) for each in ("a", "b"))
            )
            counted = problem.ratio, outside
            assert ratio_of(found, side, 20, system, strategy) == pytest.approx(counted, rel=1e-12)


@pytest.mark.parametrize("percentile", [98, 99, 100])
def test_the_ratio_of_a_sample_of_a_weight_is_that_of_the_weight(percentile):
    torch.manual_seed(0)
    spread = torch.distributions.Gamma(8.0, 8.0).sample((8192, 576)).rsqrt()
    weight = torch.randn(8192, 576) * spread
    system, strategy = DigitSystem("balanced", 8), load_strategy("block", 16)
    part, whole = (quantize(x, percentile, 254, "row") for x in (sampled(weight), weight))
    ones = torch.ones(64, 576, dtype=torch.int32)
    problem = strategy.unpack(IntegerOperand(ones, system), IntegerOperand(whole, system))
    found, _ = ratio_of(part, "b", 64, system, strategy)
    assert found == pytest.approx(problem.ratio, rel=0.01)
    assert found == 1 if percentile == 100 else found > 1.02


def test_an_interrupted_run_goes_on(subject, tmp_path):
    examination = Examination(betas=(7, 31), tokens=16, gemms=("*.mlp.*",))
    whole = run(subject, examination, tmp_path / "whole")
    part = tmp_path / "part"
    run(subject, examination, part)
    lines = (part / "records.jsonl").read_text().splitlines(keepends=True)
    (part / "records.jsonl").write_text("".join(lines[:5]))
    said = []
    again = run(subject, examination, part, said, resume=True)
    assert [r.key for r in again] == [r.key for r in whole]
    assert [r.divergence for r in again] == [r.divergence for r in whole]
    assert said[0] == f"5 of {len(whole)} measurements are there already"
    assert f"{len(whole) - 5} measurements take about" in said[1]


def test_wrong_globs_and_short_texts(subject):
    with pytest.raises(InputError, match=r"no GEMM matches 'mlp'; the model runs: model\.layers"):
        Examined(subject, Examination(tokens=16, gemms=("mlp",)))
    with pytest.raises(InputError, match="too few for 60 windows"):
        Examined(subject, Examination(windows=30, tokens=16))


def test_both_operands_of_a_kind_are_rounded(subject):
    (reading,) = subject.readings(1, 16)
    place = next(p for p in survey(subject.model, reading.run) if p.op == "qk")
    alone = RoundedAlone(subject.model, place, "attention", Rounding(95, 7, "row"))
    with alone:
        reading.run()
    a, b = alone.operands.a, alone.operands.b
    rounded = [quantize(x, 95, 7, "row") for x in (a, b)]
    product = (rounded[0].values / rounded[0].scale) @ (rounded[1].values / rounded[1].scale).mT
    exact = a @ b.mT
    expected = float((product - exact).norm() / exact.norm())
    assert alone.local_error == pytest.approx(expected, rel=1e-4)
