"""The JSON Schema of configs agrees with what the loader takes."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from accelsim.config.config_kind import read_kind
from accelsim.config.schema import config_schema
from accelsim.parity.schema import parity_schema

CONFIGS = Path(__file__).parents[3] / "configs"
MODELINE = "# yaml-language-server: $schema={}\n"

GOOD = {"workloads": [{"bundle": "x.safetensors"}], "backends": ["int64"]}


@pytest.fixture(scope="module")
def validator():
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


SCHEMAS = {
    "run": (CONFIGS / "accelsim.schema.json", config_schema),
    "eval": (CONFIGS / "accelsim-eval.schema.json", lambda: parity_schema("eval")),
    "train": (CONFIGS / "accelsim-train.schema.json", lambda: parity_schema("train")),
}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_configs_are_valid_and_carry_the_modeline(path):
    text = path.read_text()
    file, schema = SCHEMAS[read_kind(path)]
    jsonschema.Draft202012Validator(schema()).validate(yaml.safe_load(text))
    assert text.startswith(MODELINE.format(file.name))


@pytest.mark.parametrize(
    "changes",
    [
        {"backends": "int64"},
        {"backends": [{"name": "emulator", "accumulator_bits": 24}]},
        {"backends": "my/array.py:MyArray"},
        {"workloads": {"synthetic": {"n": 8, "d": 8, "h": 8}}},
        {"workloads": [{"source": "my.py:Mine", "anything": 1}]},
        {"quantize": {"percentile": 95, "beta": [15, {"a": 255, "b": 15}]}},
        {"unpack": {"bits": {"a": 8, "b": 4}, "strategy": {"name": "block"}, "digits": "paper"}},
        {"unpack": {"bits": [2, 16], "strategy": ["row/column", "mix"]}},
        {"baselines": "fp32", "timing": {"prepared": "b", "target_error": 0.02}},
        {"baselines": []},
    ],
)
def test_what_the_loader_takes_is_valid(changes, validator):
    validator.validate(GOOD | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"backends": []},
        {"backends": "nonsense"},
        {"backend": "int64"},
        {"workloads": [{"bundel": "x"}]},
        {"workloads": [{"bundle": "x", "gems": "*"}]},
        {"quantize": {"percentile": 0}},
        {"quantize": {"beta": {"a": 1}}},
        {"unpack": {"bits": 17}},
        {"unpack": {"bits": []}},
        {"unpack": {"strategy": "mixed"}},
        {"timing": {"repeats": "many"}},
        {"baselines": ["fp33"]},
        {"k_split": "sometimes"},
    ],
)
def test_what_the_loader_refuses_is_invalid(changes, validator):
    assert not validator.is_valid(GOOD | changes)


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_file_that_configs_name_has_the_keys_of_this_version(kind):
    file, schema = SCHEMAS[kind]
    written, now = json.loads(file.read_text()), schema()
    assert written["properties"].keys() == now["properties"].keys()
    sections = [name for name in now["$defs"] if name.endswith(("Section", "Sweep"))]
    assert sections
    for section in sections:
        names = [schema["$defs"][section]["properties"].keys() for schema in (written, now)]
        assert names[0] == names[1]
