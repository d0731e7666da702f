"""Treatments whose linear layers are converted: the same values as without."""

import json

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from accelsim.cli.eval import command
from accelsim.cli.train import command as train
from accelsim.errors import InputError
from accelsim.integer_mode import Selection
from accelsim.integer_mode.converted import IntegerConfig, PreparedGemms

CONFIG = """
model: MODEL
text: text.txt
windows: 1
tokens: 16
treatments:
  - {beta: 31, granularity: row, ops: [linear]}
  - {beta: 31, granularity: row, ops: [linear], prepared: true}
"""

TRAIN = """
task: gpt
batch: 2
context: 8
width: 16
layers: 1
heads: 2
steps: 2
evaluate_every: 2
treatments:
  - {beta: {gradients: 1023, default: 31}, ops: [linear]}
  - {beta: {gradients: 1023, default: 31}, ops: [linear], prepared: true}
"""


def rows(command, config, *options):
    out = config.parent / "out"
    found = CliRunner().invoke(
        command,
        [str(config), "--output", str(out), "--format", "json", *options],
        standalone_mode=False,
    )
    if found.exception is not None:
        raise found.exception
    return json.loads(found.stdout)


def test_eval_gives_the_same_perplexity(tmp_path, llama):
    (tmp_path / "text.txt").write_text("Integers are enough, or so it is said. " * 2)
    config = tmp_path / "eval.yaml"
    config.write_text(CONFIG.replace("MODEL", str(llama)))
    plain, prepared = rows(command, config)
    assert prepared["perplexity"] == plain["perplexity"]
    assert prepared["treatment"] == f"{plain['treatment']}, prepared"


def test_eval_gives_the_same_perplexity_under_a_plan(tmp_path, llama):
    (tmp_path / "text.txt").write_text("Integers are enough, or so it is said. " * 2)
    (tmp_path / "fine.yaml").write_text(
        "schema: 1\ngemms: {'*.down_proj': {weights: {beta: 255}, activations: {beta: 7}}}\n"
    )
    config = tmp_path / "eval.yaml"
    planned = CONFIG.replace("MODEL", str(llama)).replace("granularity: row", "plan: fine.yaml")
    config.write_text(planned + "  - {beta: 31, ops: [linear]}\n")
    plain, prepared, uniform = rows(command, config)
    assert prepared["perplexity"] == plain["perplexity"] != uniform["perplexity"]


def test_train_gives_the_same_curves(tmp_path):
    config = tmp_path / "train.yaml"
    config.write_text(TRAIN)
    rows(train, config)
    plain, prepared = (
        json.loads(line) for line in (tmp_path / "out/records.jsonl").read_text().splitlines()
    )
    assert prepared["losses"] == plain["losses"]
    assert prepared["evaluations"] == plain["evaluations"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("ops: [linear, qk]", r"ops: expected \[linear\]: attention has no weights"),
        ("ops: [linear], check: true, backend: int64", "check: expected false"),
        ("ops: [linear], method: clip", "method: expected integers"),
        ("ops: [linear], strategy: fused", "strategy: expected a name"),
        ("ops: [linear], backend: {name: emulator, bits: 8}", "backend: expected a name"),
        (
            "ops: [linear], backend: int64, strategy: block",
            "strategy: expected one that cuts no blocks",
        ),
    ],
)
def test_what_does_not_go_with_it_is_an_error(tmp_path, llama, change, message):
    (tmp_path / "text.txt").write_text("Integers are enough.")
    config = tmp_path / "eval.yaml"
    text = CONFIG.replace("MODEL", str(llama))
    config.write_text(text.replace("ops: [linear], prepared", f"{change}, prepared"))
    with pytest.raises(InputError, match=message):
        rows(command, config)


def test_a_model_is_as_it_was_after_the_context():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).eval()
    weights, x = [layer.weight for layer in model], torch.randn(3, 4)
    before = model(x)
    context = PreparedGemms(model, IntegerConfig(7), Selection(gemms=["1"], ops=["linear"]))
    with context:
        assert not torch.equal(model(x), before)
        assert context.conversion.converted == ("1",)
    assert [layer.weight for layer in model] == weights
    assert torch.equal(model(x), before)
    with pytest.raises(InputError, match="only those of linear layers"):
        PreparedGemms(model, IntegerConfig(7), Selection())
