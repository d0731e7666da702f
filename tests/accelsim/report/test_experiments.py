"""The page of eval and train runs: verdict, results, curves with the parity line, tally."""

import json
import shutil
from pathlib import Path

import pytest
from test_page import Page

from accelsim.cli import main
from accelsim.errors import InputError
from accelsim.records.experiments import EvalRecord, TrainRecord
from accelsim.records.loading import ExperimentRun, kind_of, load_experiment
from accelsim.report.experiments import training_rows
from accelsim.report.figures.figure import NothingToDrawError, style
from accelsim.report.figures.quality import VISIBLE, quality
from accelsim.report.figures.sheet import WIDE
from accelsim.report.figures.training import training
from accelsim.report.figures.training_integers import largest, ratios
from accelsim.report.html import render_experiments

TUNING = Path(__file__).parents[3] / "results" / "tuning"
SENSITIVITIES, PLANS = "sensitivity-minilm-l6", "tune-minilm-l6-4bits"
LADDER = "ladder-smollm2"

WHOLE = {"method": "integers", "gemms": ["*"], "skip": [], "ops": ["linear", "qk", "pv"]}
TALLY = {
    "gemms": 40, "dense_macs": 10**9, "coverage": 0.98, "not_chosen_macs": 0,
    "skipped_macs": 2 * 10**7, "skipped_unknown": 0, "ratio": 1.25, "checked": 8, "inexact": 0,
    "overflows": 0, "skipped": {"operands are int64": 3},
}  # fmt: skip


def evaluated(value, label="", tally=None, reason="", **treatment):
    how = {**WHOLE, "percentile": 95, **treatment}
    return EvalRecord(
        model="m", text_sha256="0", treatment=how, label=label or json.dumps(treatment),
        metric="perplexity", value=value, reason=reason, seconds=2.0, tally=tally or {}, storage={},
    )  # fmt: skip


def trained(label, seed, final, method="integers", reason=""):
    curve = [[step, final + 1 / step] for step in (10.0, 20.0, 30.0)]
    return TrainRecord(
        task="gpt", treatment={**WHOLE, "method": method, "label": label}, label=label, seed=seed,
        parameters=1000, metric="held-out loss", final=None if reason else final, losses=curve,
        evaluations=curve, probes=[], seconds=1.0, reason=reason, tally={},
    )  # fmt: skip


@pytest.fixture
def evaluations():
    return [
        evaluated(10.0, "float", method="float"),
        evaluated(10.05, "β = 255", TALLY, beta=255),
        evaluated(12.0, "β = 31", TALLY, beta=31),
        evaluated(900.0, "β = 3", TALLY, beta=3),
        evaluated(11.0, "linear only", beta=31, ops=["linear"]),
    ]


@pytest.fixture
def trainings():
    return [
        trained(label, seed, final + seed / 10, method)
        for seed in (0, 1)
        for label, final, method in (("float", 2.0, "float"), ("β = 31", 2.1, "integers"))
    ]


def page_of(tmp_path, *runs):
    made = [ExperimentRun(tmp_path / name, {"model": "m"}, tuple(rs), ()) for name, rs in runs]
    return Page(render_experiments(made, [name for name, _ in runs]))


def tables(page):
    found = [json.loads(words) for _, words in page.words if words.startswith('{"page"')]
    return [
        {c["title"]: [c["texts"][row] for row in c["rows"]] for c in table["columns"]}
        for table in found
    ]


def test_an_eval_run_has_its_verdict_results_curve_and_tally(tmp_path, evaluations):
    page = page_of(tmp_path, ("one", evaluations))
    assert "5 of 5 finished; 24 of 24 checked GEMMs exact" in page.texts("p")
    assert "Within 1% of the perplexity in floats (10): β = 255." in page.texts("p")
    results, tally = tables(page)
    assert results["treatment"] == ["float", "β = 255", "β = 31", "β = 3", "linear only"]
    assert results["% above float"][:3] == ["0", "0.5000", "20.00"]
    assert tally["coverage"] == ["98.00%"] * 3
    assert tally["inexact"] == ["0"] * 3
    assert tally["stayed in floats"] == ["operands are int64: 3"] * 3
    assert [s.get("id") for s in page.of("section")] == [
        "verdict", "results", "figures", "tally", "asked", "machine"
    ]  # fmt: skip
    assert len(page.of("svg")) == 2


def test_the_quality_figure_has_the_parity_line_and_says_what_is_not_in_it(evaluations):
    with style():
        figure = quality(evaluations, WIDE)
    (axes,) = figure.canvas.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert list(lines) == ["p = 95", "float (parity)"]
    assert set(lines["float (parity)"].get_ydata()) == {10.0}
    assert lines["p = 95"].get_xdata().tolist() == [3, 31, 255]
    assert axes.get_ylim()[1] == pytest.approx(VISIBLE * 10.0)
    assert "Not shown, as above the figure: 1 of the points." in figure.caption
    assert "1 treatments that are not one β for all GEMMs" in figure.caption


def test_without_a_plain_treatment_there_is_no_figure(tmp_path, evaluations):
    with pytest.raises(NothingToDrawError):
        quality(evaluations[:1], WIDE)
    page = page_of(tmp_path, ("one", evaluations[:1]))
    assert not page.of("svg")
    assert "figure: no treatment of all GEMMs by integers" in page.texts("li")


def test_a_failure_is_no_green_tick(tmp_path, evaluations):
    wrong = evaluated(10.0, "β = 9", {**TALLY, "inexact": 2}, beta=9)
    nan = evaluated(None, "β = 2", reason="the perplexity is not finite", beta=2)
    page = page_of(tmp_path, ("one", [*evaluations, wrong, nan]))
    assert "5 of 7 finished; 30 of 32 checked GEMMs exact" in page.texts("p")
    assert [p["class"] for p in page.of("p") if "class" in p] == ["verdict bad"]
    assert "β = 9: a wrong integer or an overflow" in page.texts("li")
    assert "β = 2: the perplexity is not finite" in page.texts("li")


def test_a_train_run_has_its_curves(tmp_path, trainings):
    page = page_of(tmp_path, ("one", trainings))
    (results,) = tables(page)
    assert results["treatment"] == ["float", "β = 31"]
    assert results["seeds"] == ["2", "2"]
    assert results["minus float"] == ["0", "0.1000"]
    with style():
        figure = training(trainings, WIDE)
    held_out, losses = figure.canvas.axes
    assert [axes.get_title() for axes in (held_out, losses)] == ["held-out loss", "training loss"]
    lines = {line.get_label(): line for line in held_out.get_lines()}
    assert list(lines) == ["float (parity)", "β = 31"]
    assert lines["float (parity)"].get_linestyle() == "--"
    assert lines["β = 31"].get_ydata().tolist() == pytest.approx([2.25, 2.2, 2.1833333])


def test_probes_at_two_widths_and_times_beside_bf16(tmp_path, trainings):
    def probes(growth):
        return [
            {"step": step, "bits": bits, "forward_ratio": 1 + growth * step / bits,
             "backward_ratio": 2.0, "forward_largest": {"weights": 40},
             "backward_largest": {"weights": 40, "gradients": 10**step}}
            for step in (1, 2, 3) for bits in (4, 8)
        ]  # fmt: skip

    found = [
        record.model_copy(update={"probes": probes(4 + record.seed), "seconds_per_step": 0.04})
        if record.treatment["method"] == "integers"
        else record.model_copy(update={"seconds_per_step": 0.02})
        for record in trainings
    ]
    found.append(trained("bf16", 0, 2.0, "bf16").model_copy(update={"seconds_per_step": 0.01}))
    floats, integers, bf16 = training_rows(found)
    assert integers["r forward at b = 4, first"] == pytest.approx((2 + 2.25) / 2)
    assert integers["r forward at b = 8, last"] == pytest.approx((2.5 + 2.875) / 2)
    assert floats["r backward at b = 8, last"] is None
    assert [row["× bf16"] for row in (floats, integers, bf16)] == pytest.approx([2, 4, 1])
    assert integers["ms a step"] == pytest.approx(40)
    with style():
        ratio, most = (draw(found, WIDE) for draw in (ratios, largest))
    forward, backward = ratio.canvas.axes
    assert [axes.get_title() for axes in (forward, backward)] == ["forward", "backward"]
    lines = {line.get_label(): line.get_ydata().tolist() for line in forward.get_lines()}
    assert lines["β = 31, b = 4"] == pytest.approx([2.125, 3.25, 4.375])
    assert list(lines) == ["β = 31, b = 4", "β = 31, b = 8"]
    (line,) = most.canvas.axes[1].get_lines()
    assert line.get_ydata().tolist() == [40, 100, 1000]
    assert most.canvas.axes[1].get_yscale() == "log"


def test_without_probes_there_is_nothing_to_draw_of_them(trainings):
    for draw in (ratios, largest):
        with pytest.raises(NothingToDrawError, match="no step ran on a backend"):
            draw(trainings, WIDE)


def test_several_runs_are_told_apart(tmp_path, trainings):
    page = page_of(tmp_path, ("one", trainings), ("two", trainings))
    assert tables(page)[0]["run"] == ["one", "one", "two", "two"]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    figures = [name for name in ids if name.startswith("figure-")]
    assert figures == ["figure-one-training", "figure-two-training"]


class TestCommand:
    @pytest.fixture
    def write(self, tmp_path):
        def write(name, records):
            (tmp_path / name).mkdir()
            lines = "".join(record.to_json() + "\n" for record in records)
            (tmp_path / name / "records.jsonl").write_text(lines)
            return tmp_path / name

        return write

    def report(self, capsys, *arguments):
        with pytest.raises(SystemExit) as exit_:
            main(["report", *map(str, arguments)])
        return exit_.value.code or 0, capsys.readouterr().err

    def test_the_kind_of_a_run_is_that_of_its_records(
        self, write, make_record, evaluations, trainings
    ):
        kinds = [
            kind_of(write(name, records))
            for name, records in (("a", [make_record()]), ("b", evaluations), ("c", trainings))
        ]
        assert [kind.__name__ for kind in kinds] == ["Record", "EvalRecord", "TrainRecord"]
        tuned = [kind_of(TUNING / name).__name__ for name in (SENSITIVITIES, PLANS, LADDER)]
        assert tuned == ["SensitivityRecord", "TuneRecord", "LadderRecord"]

    @pytest.mark.parametrize(
        ("name", "verdict", "more", "figures"),
        [
            ("sensitivity-minilm-l6", "172 measurements of 49 GEMMs", "rank correlation 0.68", 2),
            ("tune-minilm-l6-4bits", "7 of 15 plans keep 'cosine 0.995'", "ratio 2.82.", 1),
            ("ladder-smollm2", "65 products of 5 GEMMs", "float formats", 1),
            ("tune-smollm2-135m-8bits", "1 of 4 plans keep 'perplexity +0.5%'", "", 1),
        ],
    )
    def test_sensitivity_and_tune_runs_have_pages(
        self, tmp_path, capsys, name, verdict, more, figures
    ):
        target = tmp_path / "page.html"
        assert self.report(capsys, TUNING / name, "-o", target)[0] == 0
        page = Page(target.read_text())
        assert any(verdict in words for words in page.texts("p"))
        (banner,) = (p["class"] for p in page.of("p") if "verdict" in p.get("class", ""))
        assert banner == ("verdict bad" if verdict.startswith("0") else "verdict good")
        assert any(more in words for words in page.texts("p"))
        (results,) = tables(page)
        assert len(page.of("figure")) == figures
        assert results.get("meets", ["no"])[0] == ("yes" if verdict.startswith("1 ") else "no")
        assert results.get("β", ["15"])[0] == "15"

    def test_a_target_that_no_plan_keeps_is_no_success(self, tmp_path, capsys):
        folder = tmp_path / "run"
        shutil.copytree(TUNING / "tune-smollm2-135m-8bits", folder)
        records = folder / "records.jsonl"
        text = records.read_text()
        assert text.count('"meets": true') == 1
        records.write_text(text.replace('"meets": true', '"meets":false'))
        target = tmp_path / "page.html"
        assert self.report(capsys, folder, "-o", target)[0] == 0
        page = Page(target.read_text())
        assert any("0 of 4 plans keep" in words for words in page.texts("p"))
        (banner,) = (p["class"] for p in page.of("p") if "verdict" in p.get("class", ""))
        assert banner == "verdict bad"

    def test_a_page_and_files(self, write, evaluations, tmp_path, capsys):
        page, figures = tmp_path / "page.html", tmp_path / "figures"
        run = write("run", evaluations)
        assert self.report(capsys, run, "-o", page, "--figures", figures)[0] == 0
        assert "5 of 5 finished" in page.read_text()
        assert sorted(path.name for path in figures.iterdir()) == [
            "run-quality.pdf", "run-quality.png"
        ]  # fmt: skip

    def test_kinds_are_not_mixed(self, write, evaluations, trainings, capsys):
        code, said = self.report(capsys, write("a", evaluations), write("b", trainings))
        assert code == 2
        assert "of different kinds" in said

    def test_a_broken_line_names_its_place(self, write, evaluations):
        run = write("run", evaluations)
        with (run / "records.jsonl").open("a") as file:
            file.write('{"treatment": 1}\n')
        with pytest.raises(InputError, match=r"records\.jsonl:6"):
            load_experiment(run, EvalRecord)
