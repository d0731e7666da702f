"""Treatments with the same bits in any batch: what they promise is in the record."""

import json

import pytest
from click.testing import CliRunner

from accelsim.cli.eval import command
from accelsim.errors import InputError
from accelsim.parity.sweep import TreatmentSweep

CONFIG = """
model: MODEL
text: text.txt
windows: 1
tokens: 16
treatments:
  - {beta: 63, granularity: row, invariant: true}
"""


def evaluated(config):
    out = config.parent / "out"
    found = CliRunner().invoke(command, [str(config), "--output", str(out)], standalone_mode=False)
    if found.exception is not None:
        raise found.exception
    return [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]


@pytest.fixture
def config(tmp_path, llama):
    (tmp_path / "text.txt").write_text("Integers are enough, or so it is said. " * 2)
    path = tmp_path / "eval.yaml"
    path.write_text(CONFIG.replace("MODEL", str(llama)))
    return path


def test_the_record_has_the_level(config):
    (record,) = evaluated(config)
    assert record["treatment"]["invariant"] is True
    assert record["label"].endswith("scales per row, invariant")
    assert (record["tally"]["level"], record["tally"]["unpinned"]) == (2, {})


def test_scales_that_span_the_batch_are_an_error(config):
    config.write_text(config.read_text().replace("granularity: row", "granularity: tensor"))
    with pytest.raises(InputError, match="granularity: expected row, since others span the batch"):
        evaluated(config)


def test_floats_are_not_invariant():
    sweep = TreatmentSweep(method="float", invariant=True)
    assert sweep.unfit() == ("method", "expected integers (invariant: true)")
