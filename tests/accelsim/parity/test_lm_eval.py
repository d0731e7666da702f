"""`accelsim lm-eval`: the harness's own scores in floats, and integers through a backend."""

import json
import re
import sys
from functools import partial
from pathlib import Path

import pytest

from accelsim.cli import main

tasks = pytest.importorskip("lm_eval.tasks", reason="needs accelsim[lm-eval]")
TASKS = Path(__file__).parents[3] / "configs" / "lm-eval"


@pytest.fixture(autouse=True)
def _only_local_tasks(monkeypatch):
    """Keep the harness from reading its own thousands of tasks, which takes it long."""
    local = partial(tasks.TaskManager, include_defaults=False)
    monkeypatch.setattr(tasks, "TaskManager", local)
    monkeypatch.setattr(sys, "argv", sys.argv)


@pytest.fixture
def harness(llama, tmp_path):
    """Run the command; return the answers of the model and what the harness noted of it."""

    def run(name, options="", task="python_docs"):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        arguments = ["--model", name, "--model_args", f"pretrained={llama},dtype=float32{options}"]
        arguments += ["--tasks", task, "--include_path", str(TASKS), "--limit", "3"]
        with pytest.raises(SystemExit) as ended:
            main(["lm-eval", *arguments, "--log_samples", "--output_path", str(out)])
        assert ended.value.code == 0
        results, samples = (next(out.rglob(f"{name}*")) for name in ("results", "samples"))
        lines = samples.read_text().splitlines()
        return [json.loads(line)["resps"] for line in lines], json.loads(results.read_text())

    return run


def test_floats_are_the_harness_own_and_integers_are_a_backends(harness, capsys):
    plain, _ = harness("hf")
    floats, noted = harness("accelsim", ",method=float")
    assert floats == plain
    assert "integer_gemms" not in noted["config"]
    simulated, noted = harness("accelsim", ",beta=15")
    said = capsys.readouterr().err
    assert re.search(r"12 requests with p = 95, β = 15: about \d\S* (s|min)", said)
    assert simulated != plain
    assert noted["results"]["python_docs"]["acc,none"] is not None
    assert noted["config"]["integer_gemms"]["gemms"] == 3 * 4 * (2 * (7 + 2) + 1)
    found, noted = harness("accelsim", ",beta=15,backend=emulator,bits=4,check=True")
    assert found == simulated
    tally = noted["config"]["integer_gemms"]
    assert tally["checked"] == tally["gemms"] == 3 * 4 * (2 * (7 + 2) + 1)
    assert (tally["inexact"], tally["overflows"]) == (0, 0)
    assert tally["ratio"] > 1


GENERATION = """
task: generation
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
output_type: generate_until
test_split: test
doc_to_text: "{{text}}"
doc_to_target: "{{text}}"
generation_kwargs: {max_gen_toks: 4, until: ["<end>"]}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""


def test_generation_with_a_cache(harness, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "texts.jsonl").write_text('{"text": "abc"}\n{"text": "integers"}\n')
    task = tmp_path / "generation.yaml"
    task.write_text(GENERATION.replace("FILE", str(tmp_path / "texts.jsonl")))
    plain, _ = harness("hf", task=str(task))
    found, noted = harness("accelsim", ",beta=65535,gemms=*.q_proj", task=str(task))
    assert found == plain
    assert noted["config"]["integer_gemms"]["gemms"] == 2 * 4 * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("beta=0", "accelsim: beta: found 0; expected a number above 0"),
        ("beta=[15,31]", "accelsim: found 2 treatments; expected one value for each option"),
        (
            "method=float,digits=papr",
            "accelsim: digits: unknown digit system 'papr'; did you mean 'paper'",
        ),
        ("backend=emulater", "accelsim: unknown backend 'emulater'; did you mean 'emulator'"),
    ],
)
def test_wrong_options(llama, capsys, options, message):
    arguments = ["--model", "accelsim", "--model_args", f"pretrained={llama},{options}"]
    with pytest.raises(SystemExit) as ended:
        main(["lm-eval", *arguments, "--tasks", "python_docs", "--include_path", str(TASKS)])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_share_of_integers_can_be_required(llama, capsys):
    treatment = f"pretrained={llama},dtype=float32,beta=15,gemms=*.q_proj"
    arguments = ["--model", "accelsim", "--model_args", treatment, "--tasks", "python_docs"]
    arguments += ["--include_path", str(TASKS), "--limit", "1"]
    for demand, status in ((["--require-coverage", "0.9"], 1), ([], 0)):
        with pytest.raises(SystemExit) as ended:
            main(["lm-eval", *demand, *arguments])
        assert ended.value.code == status
        named = "error: p = 95, β = 15, *.q_proj only: " in capsys.readouterr().err
        assert named == bool(demand)
