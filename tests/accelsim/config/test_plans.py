"""Plans: what the loader takes, what it refuses and where, and their JSON Schema."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from accelsim.config.plan_schema import plan_schema
from accelsim.config.plans import load_plan
from accelsim.errors import InputError
from accelsim.settings import PerKind
from accelsim.types import PerOperand, Rounding, StrategyChoice

SCHEMA_FILE = Path(__file__).parents[3] / "configs" / "accelsim-plan.schema.json"

PLAN = """\
schema: 1
about: {model: tiny, target: 0.5%}
gemms:
  "*": {beta: 31, granularity: row}
  "*.down_proj": {activations: {beta: 127}, weights: {beta: 255}, bits: 8, strategy: block}
  "*.down_proj ": {beta: 1}
  "model.*":
    attention: {percentile: 99}
    phases: [forward]
    bits: {a: 8, b: 4}
    strategy: {name: block, block: 16}
"""

BASE = PerKind.all({"percentile": 95})


@pytest.fixture
def write(tmp_path):
    def write(text, name="plan.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_the_last_match_wins_key_by_key(write):
    plan = load_plan(write(PLAN))
    down = plan.rounding("layers.0.down_proj", "forward", BASE)
    assert down.activations == Rounding(95, 127, "row")
    assert down.weights == Rounding(95, 255, "row")
    assert down.gradients == Rounding(95, 31, "row")
    assert plan.unpacking("layers.0.down_proj", "forward") == {
        "bits": PerOperand.both(8),
        "strategy": StrategyChoice("block"),
    }
    inner = plan.rounding("model.down_proj", "forward", BASE)
    assert (inner.weights.beta, inner.attention) == (255, Rounding(99, 31, "row"))
    assert plan.unpacking("model.down_proj", "forward")["bits"] == PerOperand(8, 4)
    assert plan.unpacking("model.down_proj", "grad_input")["bits"] == PerOperand.both(8)
    assert plan.rounding("model.down_proj", "grad_weight", BASE).attention.percentile == 95


def test_what_the_plan_leaves_out_is_as_given(write):
    plan = load_plan(write("{schema: 1, gemms: {'*.q': {weights: {beta: 7}}}}"))
    found = plan.rounding("a.q", "forward", BASE)
    assert (found.weights, found.activations) == (Rounding(95, 7), None)
    given = plan.rounding("a.q", "forward", PerKind.all({"beta": 3}))
    assert (given.weights.beta, given.activations) == (7, Rounding(beta=3))
    assert plan.unpacking("a.q", "forward") == {}


def test_json_is_the_same_plan_and_the_hash_tells_plans_apart(write):
    plan = load_plan(write(PLAN))
    same = load_plan(write(json.dumps(plan.to_dict(), indent=2), "plan.json"))
    assert same.to_dict() == plan.to_dict()
    assert same.hash == plan.hash
    other = load_plan(write(PLAN.replace("beta: 127", "beta: 63"), "other.yaml"))
    assert other.hash != plan.hash
    told = load_plan(write(PLAN.replace("model: tiny", "model: large"), "told.yaml"))
    assert told.hash == plan.hash, "what is about the plan says nothing about GEMMs"
    gemms = dict(reversed(plan.to_dict()["gemms"].items()))
    turned = load_plan(write(json.dumps({"schema": 1, "gemms": gemms}), "turned.json"))
    assert turned.hash != plan.hash, "the order decides which entry wins"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("»gemms: {a: {beta: 1}}", "missing key 'schema'"),
        ("schema: »2\ngemms: {a: {betta: 1}}", "found 2, which is newer than 1"),
        ("schema: »one\ngemms: {a: {beta: 1}}", "found 'one'; expected 1"),
        ("schema: 1\ngemms: »{}", "found {}; expected a mapping from globs"),
        ("»schema: 1", "missing key 'gemms'"),
        ("schema: 1\ngemms:\n  '*.q': {»betta: 3}", "'betta'; did you mean 'beta'?"),
        ("schema: 1\ngemms:\n  '*.q':\n    weights: {beta: »0}", "a number above 0"),
        ("schema: 1\ngemms:\n  '*.q': {beta:» }", "found nothing; expected a number"),
        ("schema: 1\ngemms:\n  '*.q': {»wieghts: {beta: 3}}", "did you mean 'weights'?"),
        ("schema: 1\ngemms:\n  '*.q': {bits: »17}", "a whole number from 2 to 16"),
        ("schema: 1\ngemms:\n  '*.q': {strategy: »blok}", "did you mean 'block'?"),
        ("schema: 1\ngemms:\n  '*.q': {digits: »balance}", "did you mean 'balanced'?"),
        ("schema: 1\ngemms:\n  '*.q': {phases: [»fwd]}", "forward"),
        ("schema: 1\ngemms:\n  a: {beta: 1}\n  »a: {beta: 2}", "duplicate key 'a'"),
        ("schema: 1\ngemms: {a: {beta: 1}}\nabout: {}\n»use: 1", "'use'"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(text, message, write):
    before = text[: text.index("»")]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    path = write(text.replace("»", ""))
    with pytest.raises(InputError) as caught:
        load_plan(path)
    assert f"{path}:{line}:{column}: " in str(caught.value)
    assert message in str(caught.value)
    assert "problems" not in str(caught.value), "one mistake is one message"


def test_the_schema_takes_what_the_loader_takes(write):
    schema = plan_schema()
    assert json.loads(SCHEMA_FILE.read_text()) == schema
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(yaml.safe_load(PLAN))
    for wrong in (
        {"gemms": {"*": {"beta": 1}}},
        {"schema": 2, "gemms": {"*": {"beta": 1}}},
        {"schema": 1, "gemms": {}},
        {"schema": 1, "gemms": {"*": {"beta": None}}},
        {"schema": 1, "gemms": {"*": {"strategy": "blok"}}},
    ):
        assert not validator.is_valid(wrong), wrong
        with pytest.raises(InputError):
            load_plan(write(json.dumps(wrong), "wrong.json"))
