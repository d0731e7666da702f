"""`accelsim eval` on a small model: the table, the figure, going on, and what goes wrong."""

import json
import math
import re
import sys

import pytest
import torch
from click.testing import CliRunner

from accelsim.cli import live
from accelsim.cli.eval import command
from accelsim.errors import InputError
from accelsim.plugins.extras import how_to_install
from accelsim.records.experiments import EvalRecord
from accelsim.report.figures.experiments import check_figure, draw_quality

CONFIG = """
model: MODEL
text: text.txt
windows: 2
tokens: 24
treatments:
  - method: float
  - {beta: [15, 255]}
  - {beta: 15, backend: emulator, bits: 4, check: true}
  - {method: clip, percentile: 50}
"""


@pytest.fixture
def config(tmp_path, llama):
    (tmp_path / "text.txt").write_text("Integers are enough, or so it is said. " * 4)
    path = tmp_path / "eval.yaml"
    path.write_text(CONFIG.replace("MODEL", str(llama)))
    return path


def run(config, *options):
    out = config.parent / "out"
    found = CliRunner().invoke(
        command, [str(config), "--output", str(out), *options], standalone_mode=False
    )
    if found.exception is not None:
        raise found.exception
    return found


def test_the_table_the_figure_and_going_on(config, llama):
    figure = config.parent / "figure.svg"
    found = run(config, "--format", "json", "--figure", str(figure))
    assert found.return_value == 0
    floats, rough, fine, backend, clipped = json.loads(found.stdout)
    assert floats["% above float"] == 0
    assert floats["perplexity"] == pytest.approx(directly(config.parent / "text.txt", llama))
    for row in (rough, fine, clipped):
        beyond = 100 * (row["perplexity"] / floats["perplexity"] - 1)
        assert row["% above float"] == pytest.approx(beyond)
        assert beyond != 0
    assert abs(fine["% above float"]) < abs(rough["% above float"]) < 10
    assert backend["perplexity"] == rough["perplexity"]
    assert backend["checked"] == backend["integer GEMMs"] == 2 * (2 * (7 + 2) + 1)
    assert (backend["inexact"], backend["r"] > 1) == (0, True)
    assert 0 < rough["entropy, bits"] <= rough["Huffman bits"] < fine["Huffman bits"]
    assert figure.stat().st_size > 1000
    records = (config.parent / "out" / "records.jsonl").read_bytes()
    lines = records.splitlines(keepends=True)
    (config.parent / "out" / "records.jsonl").write_bytes(b"".join(lines[:-1]))
    assert "[1/1] clip" in run(config, "--resume").stderr
    again = (config.parent / "out" / "records.jsonl").read_text().splitlines()
    assert [json.loads(line)["value"] for line in again] == [
        json.loads(line)["value"] for line in lines
    ]


def test_a_glob_that_matches_nothing_is_an_error_before_the_work(config):
    for key in ("gemms", "skip"):
        with pytest.raises(InputError) as caught:
            run(config, "--set", f"treatments=[{{method: float}}, {{{key}: [lm_hed]}}]")
        expected = f"{key}: no GEMM can match 'lm_hed'; layers with weights: "
        assert expected in str(caught.value)
        assert "model.layers.0.self_attn.q_proj" in str(caught.value)
        assert "lm_head" in str(caught.value)
        assert not (config.parent / "out" / "records.jsonl").exists()


def test_what_is_all_floats_is_not_called_integers(config):
    result = run(config, "--set", "treatments=[{beta: 3, gemms: lm_head, ops: [qk]}]")
    assert result.return_value == 1
    (record,) = (config.parent / "out" / "records.jsonl").read_text().splitlines()
    assert json.loads(record)["value"] is None
    assert json.loads(record)["reason"] == "no GEMM was computed in integers"


def test_a_share_of_integers_can_be_required(config):
    some = "treatments=[{method: float}, {beta: 15}, {beta: 15, skip: [lm_head]}]"
    result = run(config, "--format", "json", "--set", some)
    assert (result.return_value, "warning" in result.stderr) == (0, False)
    floats, everything, most = [row["% in integers"] for row in json.loads(result.stdout)]
    assert (floats, everything) == (None, 100)
    assert 50 < most < 100
    result = run(config, "--resume", "--require-coverage", "0.999", "--set", some)
    assert result.return_value == 1
    assert "error: p = 95, β = 15, without lm_head: " in result.stderr
    assert result.stderr.count("error: ") == 1


def directly(text, folder):
    """The perplexity of the definition, with transformers alone."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor(tokenizer(text.read_text())["input_ids"])
    losses = []
    for start in (0, len(ids) // 2):
        window = ids[None, start : start + 24]
        with torch.no_grad():
            losses.append(float(model(input_ids=window, labels=window).loss))
    return math.exp(sum(losses) / 2)


def test_an_operand_that_is_not_finite_is_a_record(config, llama, tmp_path):
    from transformers import LlamaForCausalLM
    from transformers.models.auto.tokenization_auto import AutoTokenizer

    broken = LlamaForCausalLM.from_pretrained(llama)
    with torch.no_grad():
        broken.model.layers[1].mlp.up_proj.weight[3, 5] = math.nan
    broken.save_pretrained(tmp_path / "broken")
    AutoTokenizer.from_pretrained(llama).save_pretrained(tmp_path / "broken")
    assert (
        run(config, "--set", "model=broken", "--set", "treatments=[{beta: 15}]").return_value == 1
    )
    (record,) = (tmp_path / "out" / "records.jsonl").read_text().splitlines()
    reason = json.loads(record)["reason"]
    assert reason == (
        "model.layers.1.mlp.up_proj (forward): weights: found nan at [3, 5]; "
        "all entries must be finite"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.gif", r"ends in \.svg, \.pdf, \.png"), ("no/a.svg", "there is no folder")],
)
def test_a_figure_that_cannot_be_drawn_is_known_before_the_work(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        check_figure(tmp_path / name)


def test_without_the_extra_nothing_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    config = tmp_path / "eval.yaml"
    config.write_text("model: minilm-l6\ntreatments: [{}]\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "records.jsonl").write_text("what an earlier run found\n")
    with pytest.raises(InputError, match=re.escape(how_to_install("models"))):
        run(config, "--overwrite")
    assert (tmp_path / "out" / "records.jsonl").read_text() == "what an earlier run found\n"


def test_the_figure_of_an_encoder(tmp_path):
    def record(value, **treatment):
        whole = {"gemms": ["*"], "skip": [], "ops": ["linear", "qk", "pv"], "percentile": 95}
        return EvalRecord(
            model="m",
            text_sha256="",
            treatment={"method": "integers", **whole, **treatment},
            label="",
            metric="cosine to float",
            value=value,
            seconds=1,
            tally={},
            storage={},
        )

    pytest.importorskip("seaborn", reason="needs accelsim[report]")
    records = [record(1.0, method="float"), record(0.9, beta=7), record(None, beta=3)]
    draw_quality(records, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="nothing to draw"):
        draw_quality([record(0.9, beta=7, skip=["head"])], tmp_path / "b.png")


def test_an_evaluation_says_what_it_takes_and_where_it_is(config, monkeypatch):
    monkeypatch.setattr(live, "SECONDS_BETWEEN", 0)
    lines = run(config).stderr.splitlines()
    first = next(line for line in lines if line.startswith("treatments to evaluate"))
    assert re.fullmatch(r"treatments to evaluate: 5, each on 2 × 24 tokens; about .+ in all", first)
    shown = [line for line in lines if ": window " in line]
    assert re.fullmatch(r"\[1/5\] [\d.]+ s left float: window 1 of 2", shown[0])
    assert len(shown) == 3 * 5 - 1, "before each window and after the last, but at the very end"
    assert not any("[0" in line or "-" in line.split("left")[0] for line in shown)


def test_a_missing_device(config):
    with pytest.raises(InputError, match="device 'cuda:99' cannot be used here"):
        run(config, "--device", "cuda:99")


def test_a_plan_is_a_treatment(config):
    plan = config.parent / "fine.yaml"
    plan.write_text("{schema: 1, gemms: {'*.mlp.*': {beta: 1023}}}")
    found = run(config, "--format", "json", "--plan", str(plan), "--set", "treatments=[{beta: 15}]")
    rough, fine = json.loads(found.stdout)
    assert fine["treatment"] == "plan fine (else p = 95, β = 255)"
    assert fine["perplexity"] != rough["perplexity"]
    sets = ["--overwrite", "--set", f"treatments=[{{beta: 255, plan: {plan.name}}}]"]
    (again,) = json.loads(run(config, "--format", "json", *sets).stdout)
    assert again["perplexity"] == fine["perplexity"]
    plan.write_text("{schema: 1, gemms: {'*.mpl.*': {beta: 1023}}}")
    with pytest.raises(
        InputError, match=r"plan: no GEMM can match '\*\.mpl\.\*'; layers with weights: "
    ):
        run(config, *sets)
    plan.write_text("{schema: 1, gemms: {'*': {betta: 1023}}}")
    with pytest.raises(InputError, match=r"plan: .*fine\.yaml:1:27: .* did you mean 'beta'"):
        run(config, *sets)
