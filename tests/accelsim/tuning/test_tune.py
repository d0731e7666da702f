"""The search: plans that hold, counts that are those of a run, and targets out of reach."""

import math
import shutil
from dataclasses import replace

import pytest
import torch

import accelsim
from accelsim.arithmetic.rounding import quantize
from accelsim.config.plans import load_plan, plan_from
from accelsim.errors import InputError
from accelsim.records import RunFolder
from accelsim.records.tuning import ACCURACY, COSINE, LOSS, SensitivityRecord, TuneRecord
from accelsim.report.figures.tuning import draw_front
from accelsim.report.tuning import front, saved, tuning_rows
from accelsim.tuning.attempts import ROUNDS, Bracket
from accelsim.tuning.counts import count
from accelsim.tuning.curves import Counting, Curve, Grid, Noise, _rounded, of_gemm
from accelsim.tuning.places import survey
from accelsim.tuning.prices import Macs, price_of
from accelsim.tuning.search import Predictions, Search
from accelsim.tuning.sensitivity import Examination, examine, settings_hash
from accelsim.tuning.target import Target
from accelsim.tuning.texts import TextSubject
from accelsim.tuning.tune import Tune, tune, write_plan
from accelsim.types import StrategyChoice
from gemm_backends import load_backend

GRID = Grid((7, 31, 127), (4, 8), (95, 100), "row", StrategyChoice("block"), 16)


@pytest.fixture(scope="session")
def sensitivities(unchanged, tmp_path_factory):
    examination = Examination(betas=(7, 31), tokens=16, bits=(4, 8))
    settings = examination.to_dict(unchanged)
    with RunFolder.open(
        tmp_path_factory.mktemp("run"), settings, settings_hash(settings), kind=SensitivityRecord
    ) as folder:
        return examine(unchanged, examination, folder, lambda line: None)


def search(unchanged, sensitivities, path, target, say=lambda line: None, pareto=False, **how):
    asked = Tune(Target.parse(target), "macs", GRID, 2, 16, "edge", pareto)
    settings = asked.to_dict(unchanged)
    with RunFolder.open(path, settings, settings_hash(settings), kind=TuneRecord, **how) as folder:
        found = tune(unchanged, asked, Macs(), sensitivities, folder, say)
        folder.finish("")
    return found


@pytest.fixture(scope="session")
def searched(unchanged, sensitivities, tmp_path_factory):
    """The folder of one search, which no test changes, and what was found in it."""
    path = tmp_path_factory.mktemp("searched") / "run"
    return path, search(unchanged, sensitivities, path, "perplexity +3%")


@pytest.fixture
def path(searched, tmp_path):
    """The folder of that search, to go on with."""
    return shutil.copytree(searched[0], tmp_path / "run")


@pytest.fixture
def found(searched):
    return searched[1]


def test_a_plan_that_holds_and_costs_less_than_one_beta_for_all(
    unchanged, sensitivities, tmp_path, monkeypatch
):
    monkeypatch.setattr("accelsim.tuning.tune.FRONT", (4.0,))
    found = search(unchanged, sensitivities, tmp_path / "run", "perplexity +3%", pareto=True)
    best = found.best
    assert best.meets
    assert best.harm <= Target.parse("perplexity +3%").budget
    uniform = [r for r in found.records if r.label.startswith("β = ") and r.meets]
    assert uniform
    assert best.cost < min(record.cost for record in uniform)
    assert set(map(id, front(found.records))) <= set(map(id, found.records))
    assert min(found.records, key=lambda r: r.cost) in front(found.records)
    rows = tuning_rows(found.records)
    assert [row["meets"] for row in rows] == [record.meets for record in found.records]
    draw_front(found.records, tmp_path / "front.svg")
    assert (tmp_path / "front.svg").stat().st_size > 1000
    write_plan(best, tmp_path / "plan.yaml")
    plan = load_plan(tmp_path / "plan.yaml")
    assert plan.hash == best.plan_sha256
    about = plan.to_dict()["about"]
    assert (about["held out"], about["unpack ratio"]) == (best.held_out, best.ratio)
    betas = {kind["beta"] for gemm in plan.to_dict()["gemms"].values()
             for kind in gemm.values() if isinstance(kind, dict) and "beta" in kind}  # fmt: skip
    assert len(betas) > 1, "one β for all is not what was found"


def test_the_predicted_counts_are_those_of_a_run_on_a_backend(unchanged):
    gemms = {
        "*": {"beta": 31, "granularity": "row", "bits": 4, "strategy": "block", "block": 16},
        "*.down_proj": {"activations": {"beta": 127}, "bits": 8},
        "*.qk": {"attention": {"beta": 63}},
    }
    plan = plan_from({"schema": 1, "gemms": gemms})
    window = unchanged.ids[None, :16]
    backend = load_backend("int64")
    counted = count(
        unchanged.model,
        lambda: unchanged.model(input_ids=window, use_cache=False),
        plan,
        lambda bits: backend.for_bits(bits, bits),
    )
    with (
        accelsim.integer_gemms(unchanged.model, plan=plan, backend="int64") as mode,
        torch.no_grad(),
    ):
        unchanged.model(input_ids=window, use_cache=False)
    total = mode.tally.total
    assert (counted.low_bit_macs, counted.dense_macs) == (total.low_bit_macs, total.dense_macs)
    assert counted.low_bit_macs > counted.dense_macs


def test_a_target_out_of_reach_is_said_with_the_nearest(unchanged, sensitivities, tmp_path):
    said = []
    found = search(unchanged, sensitivities, tmp_path / "run", "perplexity +0.0001%", said.append)
    assert found.best is None
    assert found.nearest.harm == min(record.harm for record in found.records)
    assert not found.nearest.meets
    assert any("the finest of the grid: perplexity" in line for line in said)


def test_an_interrupted_search_goes_on(unchanged, sensitivities, path, found):
    lines = (path / "records.jsonl").read_text().splitlines(keepends=True)
    (path / "records.jsonl").write_text("".join(lines[:1]))
    said = []
    again = search(unchanged, sensitivities, path, "perplexity +3%", said.append, resume=True)
    assert again.best.plan_sha256 == found.best.plan_sha256
    assert [r.harm for r in again.records] == [r.harm for r in found.records]
    assert not any("counting" in line for line in said), "the ratios were kept"


def test_a_new_target_uses_the_ratios_that_were_counted(unchanged, sensitivities, path, tmp_path):
    said = []
    again = search(unchanged, sensitivities, path, "perplexity +2%", said.append, overwrite=True)
    assert not any("counting" in line for line in said)
    afresh = search(unchanged, sensitivities, tmp_path / "other", "perplexity +2%")
    assert [r.plan_sha256 for r in again.records] == [r.plan_sha256 for r in afresh.records]


class CountingBeganError(Exception):
    """Ends a search where it would count again."""


def test_ratios_of_another_window_or_grid_are_not_used(unchanged, sensitivities, path, monkeypatch):
    def say(line):
        if line.startswith("counting the unpack ratios"):
            raise CountingBeganError

    later = TextSubject("planted", unchanged.loaded, unchanged.text, unchanged.ids[16:])
    for subject, grid in ((later, GRID), (unchanged, replace(GRID, betas=(7, 63, 127)))):
        monkeypatch.setattr(f"{__name__}.GRID", grid)
        with pytest.raises(CountingBeganError):
            search(subject, sensitivities, path, "perplexity +3%", say, overwrite=True)


def test_the_bracket_closes_between_what_holds_and_what_does_not():
    for error_of_harm in (0.4, 0.9, 2.5):  # the errors that are predicted for the harm allowed
        bracket, tried = Bracket(1.0), []
        for _ in range(ROUNDS):
            tried.append(bracket.allowed)
            if not bracket.measured(bracket.allowed / error_of_harm):
                break
        held = max(allowed for allowed in tried if allowed <= error_of_harm)
        assert error_of_harm / 1.2 < held <= error_of_harm
    bracket = Bracket(1.0)
    assert bracket.measured(2.0)
    after = bracket.allowed
    assert after < 0.5
    assert bracket.measured(0.99)
    assert after < bracket.allowed < 1.0


def test_a_search_that_can_be_cheaper_still_goes_on(found):
    held = [record for record in found.records if record.meets]
    assert found.best.cost == min(record.cost for record in held)
    failed = [record for record in found.records if not record.meets]
    assert failed
    assert all(record.predicted > found.best.predicted for record in failed)


def test_predictions_between_and_beyond_what_was_measured(sensitivities):
    record = next(r for r in sensitivities if r.kind == "weights")
    other = next(r for r in sensitivities if r.key[:2] == record.key[:2] and r is not record)
    low, high = sorted((record, other), key=lambda r: r.beta)
    predictions = Predictions(sensitivities)
    assert predictions.settings == [(95, 7), (95, 31)]
    between = math.sqrt(low.divergence * high.divergence)
    curve = Curve({}, noise=[4e-2, 1e-2, 1e-3, 1e-4, 5e-5], measured=[1e-2, 1e-4])
    found = predictions.of(record.gemm, "weights", curve)
    expected = [4 * low.divergence, low.divergence, between, high.divergence, high.divergence / 2]
    assert found == pytest.approx(expected)
    with pytest.raises(InputError, match="the sensitivity of nothing, weights was not measured"):
        predictions.of("nothing", "weights", curve)


def test_what_was_measured_and_cannot_be_on_this_text_predicts_nothing(sensitivities):
    low, high = (next(r for r in sensitivities if r.kind == "weights" and r.beta == beta)
                 for beta in (7, 31))  # fmt: skip
    predictions = Predictions(sensitivities)
    one = Curve({}, noise=[1e-4, math.inf], measured=[math.inf, 1e-4])
    assert predictions.of(low.gemm, "weights", one) == pytest.approx([high.divergence, math.inf])
    with pytest.raises(InputError, match=f"{low.gemm}, weights: what was measured makes too large"):
        predictions.of(low.gemm, "weights", Curve({}, [1e-4], [math.inf, math.inf]))


def test_the_noise_is_that_of_the_product():
    torch.manual_seed(0)
    a, b = torch.randn(64, 96), torch.randn(48, 96)
    a[:, 3] *= 30
    for percentile, beta in ((95, 15), (100, 254)):
        rounded = quantize(a, percentile, beta, "row", "nonzero")
        floats = rounded.values.double() / rounded.scale.double()
        exact = a.double() @ b.double().T
        error = (floats - a.double()) @ b.double().T
        expected = float(error.square().sum() / exact.square().sum())
        assert Noise(a, b, a @ b.T).of(rounded) == pytest.approx(expected, rel=0.1)


def test_a_percentile_is_chosen_where_it_is_cheaper_at_less_error(found):
    chosen = {
        (kind["percentile"], kind["beta"])
        for gemm in found.best.plan["gemms"].values()
        for kind in gemm.values()
        if isinstance(kind, dict) and "beta" in kind
    }
    assert {percentile for percentile, _ in chosen} == {95, 100}


@pytest.mark.parametrize("what", ["macs", "cycles", "energy", "time", "bytes"])
def test_every_price_grows_with_the_ratio(what, unchanged):
    (reading,) = unchanged.readings(1, 16)
    (gemm,) = survey(unchanged.model, reading.run)[0].gemms
    price = price_of(what, "edge", "int64")
    once, more = price.cost(gemm, 8, (1.0, 1.0)), price.cost(gemm, 8, (1.5, 1.0))
    assert 0 < once < more
    assert price.cost(gemm, 8, (1.0, 1.0)) == once


@pytest.mark.parametrize(
    "text",
    ["perplexity 0.5%", "perplexity +0%", "cosine 1", "loss +1%", "loss +1% after 0 steps",
     "accuracy +1%", "accuracy -0%", ""],
)  # fmt: skip
def test_wrong_targets(text):
    with pytest.raises(InputError, match="expected 'perplexity"):
        Target.parse(text)


def test_a_target_is_that_of_its_model():
    assert Target.parse("perplexity +0.5%").budget == pytest.approx(0.0049875, rel=1e-4)
    with pytest.raises(InputError, match=r"that of minilm is one such as 'cosine 0.995'"):
        Target.parse("perplexity +1%").check("minilm", (COSINE,))
    with pytest.raises(InputError, match="is one such as 'accuracy -1%' or 'loss \\+1% after"):
        Target.parse("cosine 0.99").check("vit-digits", (ACCURACY, LOSS))
    Target.parse("loss +2% after 10 steps").check("vit-digits", (ACCURACY, LOSS))


def test_the_plan_stands_beside_the_cheapest_of_one_beta_that_holds(found):
    best, uniform = found.best, found.uniform
    assert uniform.meets
    assert uniform.label.startswith("β = ")
    assert (best.cycles < uniform.cycles, best.energy < uniform.energy) == (True, True)
    tried = [record for record in found.records if record.label.startswith("β = ")]
    assert len(tried) <= 3
    assert all(record.cost <= uniform.cost for record in tried)
    words = saved(best, uniform, "edge")
    assert words == (
        f"beside {uniform.label}: {best.cost / uniform.cost - 1:+.1%} multiplications of 8 bits, "
        f"{best.cycles / uniform.cycles - 1:+.1%} cycles, "
        f"{best.energy / uniform.energy - 1:+.1%} energy (cycles and energy: edge)"
    )


def test_a_setting_that_makes_an_entry_too_large_is_never_chosen(unchanged):
    x = torch.full((1, 40), 1e-12)
    x[0, 0] = 1.0  # 95% of the row is so small that the first entry becomes 4e13
    assert _rounded(x, (95, 127), GRID) is None
    assert _rounded(x, (100, 127), GRID) is not None
    assert _rounded(x * 1e-30, (95, 127), GRID) is None
    x[0, 1:] = 1e-25
    assert _rounded(x, (95, 254), GRID) is None, "beyond 2^62"


def test_options_that_cannot_be_are_left_out_of_the_search(unchanged, sensitivities):
    (reading,) = unchanged.readings(1, 16)
    places = survey(unchanged.model, reading.run)
    predictions = Predictions(sensitivities)
    counting = Counting(unchanged.model, places, GRID, predictions.settings, lambda name: None)
    with counting:
        reading.run()
    first = counting.curves[places[0].name]["weights"]
    index = GRID.settings.index((100, 31))
    first.noise[index] = math.inf
    for bits in GRID.bits:
        first.ratios[of_gemm(places[0].gemms[0], bits)][index] = math.inf
    found = Search(places, GRID, predictions, counting.curves, Macs())
    for budget in (1.0, 1e-2, 1e-3):
        plan = found.plan(found.solve(budget)).to_dict()
        chosen = plan["gemms"][places[0].name]["weights"]
        assert (chosen["percentile"], chosen["beta"]) != (100, 31)
