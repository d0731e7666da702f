"""`accelsim invariance`: floats differ, integers do not, and what breaks them is named."""

import json

import pytest
import torch
from click.testing import CliRunner

from accelsim.cli import invariance as command
from accelsim.errors import InputError
from accelsim.integer_mode.pinned import operators
from accelsim.parity.invariance import cut_prompts, hashes, measure, verdict
from accelsim.parity.invariance.first_operator import own_tokens
from accelsim.parity.invariance.measuring import INTEGERS, compare
from accelsim.parity.invariance.prompts import Position

transformers = pytest.importorskip("transformers")

WORDS = 40
PROMPTS = cut_prompts([i * 7 % WORDS for i in range(100)], 3, 8)
OPTIONS = {"beta": {"weights": 127, "default": 63}}


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = transformers.LlamaConfig(**sizes, **heads, vocab_size=WORDS)
    model = transformers.LlamaForCausalLM(config).eval()
    for parameter in model.parameters():
        parameter.data *= 5
    return model


@pytest.fixture(scope="module")
def outcomes(llama):
    return measure(llama, PROMPTS, level=2, fill=4, options=OPTIONS)


def test_integers_have_one_result_and_floats_several(outcomes):
    assert hashes(outcomes, INTEGERS) == 1
    assert hashes(outcomes, "float32") > 1
    held = verdict(outcomes, 1)
    assert held.holds, held.reasons
    ways = {outcome.way for outcome in outcomes if outcome.arithmetic == INTEGERS}
    assert {"batch, padded left", "cache, chunks of 1", "2 threads", "cpu-int8"} <= ways


def test_floats_that_differ_name_the_first_operator(outcomes):
    differing = [x for x in outcomes if x.arithmetic == "float32" and x.same is False]
    assert all(x.operator and x.largest > 0 and x.prompt is not None for x in differing)
    assert any("aten::mm" in x.operator or "attention" in x.operator for x in differing)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a second device")
def test_a_level_is_not_shown_by_ways_that_did_not_run(outcomes):
    shown = verdict(outcomes, 2)
    assert not shown.holds
    assert shown.reasons == ("cuda did not run: there is no CUDA device here",)


def _tree_by_batch(self, dim, keepdim=False, dtype=None):
    cut = len(self) % self.shape[-1]
    parts = self[..., :cut].sum(-1, keepdim=True), self[..., cut:].sum(-1, keepdim=True)
    return (parts[0] + parts[1]) / self.shape[-1]


def test_a_sum_that_depends_on_the_batch_is_named(llama, monkeypatch):
    monkeypatch.setitem(operators.OPERATORS, "mean", _tree_by_batch)
    found = measure(llama, PROMPTS, fill=4, options=OPTIONS, arithmetics=[INTEGERS])
    broken = verdict(found, 1)
    assert not broken.holds
    assert any("layernorm: aten::mean" in reason for reason in broken.reasons), broken.reasons


def test_an_operator_that_is_not_pinned_is_a_reason(llama, monkeypatch):
    monkeypatch.delitem(operators.OPERATORS, "silu")
    found = measure(llama, PROMPTS[:2], fill=2, options=OPTIONS, arithmetics=[INTEGERS])
    assert "not pinned: aten::silu" in verdict(found, 1).reasons


def test_compare_finds_the_first_difference_in_bits():
    right = {0: torch.zeros(3, 2), 1: torch.ones(4, 2)}
    assert compare(right, right)["same"]
    other = {1: torch.ones(2, 2)}
    assert compare(other, right)["same"]
    other[1][1, 0] += 0.5
    found = compare(other, right)
    assert (found["same"], found["prompt"], found["token"], found["largest"]) == (False, 1, 1, 0.5)
    # The sign of zero is a bit like any other.
    assert not compare({0: -torch.zeros(3, 2)}, right)["same"]


def test_an_outputs_part_of_one_prompt():
    position = Position(row=1, rows=2, start=2, tokens=3, first_key=2, keys=3, width=5, past=0)
    x = torch.arange(2 * 5 * 7).reshape(2, 5, 7)
    mine = x[1, 2:]
    assert torch.equal(own_tokens(x, position), mine)
    assert torch.equal(own_tokens(x.reshape(10, 7), position), mine)
    scores = torch.arange(2 * 5 * 5 * 5).reshape(10, 5, 5)  # 5 heads, as many as places
    right = scores.reshape(2, 5, 5, 5)[1, :, 2:, 2:].movedim(1, 0)
    assert torch.equal(own_tokens(scores, position), right)
    assert own_tokens(torch.zeros(3, 7), position) is None


def test_prompts_have_different_lengths():
    assert [len(ids) for ids in PROMPTS] == [8, 7, 6]
    with pytest.raises(InputError, match="too few for 3 prompts of 50"):
        cut_prompts(list(range(100)), 3, 50)
    with pytest.raises(InputError, match="expected at least 4"):
        cut_prompts(list(range(100)), 3, 3)


class _Tokenizer:
    def __call__(self, text, **_):
        return {"input_ids": [i * 7 % WORDS for i in range(100)]}


def test_the_command(llama, monkeypatch, tmp_path):
    from workloads.models.huggingface import Loaded

    def loaded(folder, gguf):
        return Loaded(llama, _Tokenizer(), generates=True)

    monkeypatch.setattr("workloads.models.huggingface.load", loaded)
    arguments = [str(tmp_path), "--prompts", "2", "--tokens", "5", "--fill", "3"]
    arguments += ["-o", str(tmp_path / "found.json")]
    done = CliRunner().invoke(command.command, arguments, standalone_mode=False)
    assert done.exception is None, done.output
    assert done.return_value == 0
    assert "level 1 holds" in done.stderr
    assert "integers: 1 different result\n" in done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["levels"] == [{"level": 1, "holds": True, "reasons": []}]
    assert found["hashes"]["integers"] == 1


@pytest.mark.slow
def test_two_processes_have_the_bits_of_one(llama):
    found = measure(llama, PROMPTS[:2], level=3, fill=2, options=OPTIONS)
    (split,) = [x for x in found if x.level == 3 and x.arithmetic == INTEGERS]
    assert split.same, split.reason
