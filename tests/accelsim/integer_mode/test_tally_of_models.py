"""Counts of a model's GEMMs by layer, and what explains them."""

import pytest
import torch
from torch import nn

import accelsim
from accelsim.errors import InputError
from accelsim.integer_mode.tally import Tally


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.lstm(self.embedding(x))[0])


@pytest.fixture(scope="module")
def tally():
    torch.manual_seed(0)
    model, x = Recurrent(), torch.randint(0, 10, (2, 3))
    with accelsim.integer_gemms(model, beta=127, backend="int64", bits=4) as mode:
        model(x).square().mean().backward()
    return mode.tally


def test_rows_by_layer_name_each_layer_in_the_order_in_which_they_ran(tally):
    rows = tally.rows(by="layer")
    found = [(row["layer"], row["op"], row["phase"], row["gemms"]) for row in rows]
    # The LSTM multiplies its input once, and its state in each of three steps; the first state
    # needs no gradient.
    assert found == [
        ("lstm", "linear", "forward", 4),
        ("lstm", "linear", "grad_input", 3),
        ("lstm", "linear", "grad_weight", 4),
        ("head", "linear", "forward", 1),
        ("head", "linear", "grad_weight", 1),
        ("head", "linear", "grad_input", 1),
    ]
    head = rows[3]
    assert head["dense_macs"] == 2 * 3 * 8 * 10
    assert head["ratio"] == head["low_bit_macs"] / head["dense_macs"]


def test_rows_by_layer_and_by_op_have_the_same_sums(tally):
    for field in ("gemms", "dense_macs", "low_bit_macs", "out_of_bound"):
        by_layer, by_op = (sum(row[field] for row in tally.rows(by)) for by in ("layer", "op"))
        assert by_layer == by_op == getattr(tally.total, field) > 0
    assert [row["phase"] for row in tally.rows()] == ["forward", "grad_weight", "grad_input"]
    with pytest.raises(InputError, match="by: unknown value 'kind'"):
        tally.rows(by="kind")


def test_a_table_by_layer_has_the_multiplications_of_each_and_of_all(tally):
    lines = tally.table(by="layer").splitlines()
    assert lines[0].split() == ["layer", "op", "phase", "GEMMs", "MACs", "low-bit", "MACs", "r"]
    rows = tally.rows(by="layer")
    assert [lines[4].split()[:2], lines[8].split()[:2]] == [
        ["lstm", "together"],
        ["head", "together"],
    ]
    for line, row in zip([*lines[1:4], *lines[5:8]], rows, strict=True):
        assert line.split() == [
            *(row[name] for name in ("layer", "op", "phase")),
            *(f"{row[name]:,}" for name in ("gemms", "dense_macs", "low_bit_macs")),
            f"{row['ratio']:.3f}",
        ]
    macs, low = (sum(row[name] for row in rows[:3]) for name in ("dense_macs", "low_bit_macs"))
    assert lines[4].split()[2:] == ["11", f"{macs:,}", f"{low:,}", f"{low / macs:.3f}"]
    total = tally.total
    sums = [f"{n:,}" for n in (total.gemms, total.dense_macs, total.low_bit_macs)]
    assert lines[9].split() == ["together", *sums, f"{total.ratio:.3f}"]
    assert {len(line) for line in lines[:10]} == {len(lines[0])}


def test_the_legend_says_what_the_counts_show(tally):
    text = str(tally)
    steps, fewer = "a layer has a GEMM for each product", "needs no gradient"
    assert steps in text
    assert "linear: products with weights, those of convolutions, too" in text
    assert "attention" not in text
    assert fewer in text
    model, x = nn.Linear(8, 4), torch.randn(3, 8, requires_grad=True)
    with accelsim.integer_gemms(model, beta=127, backend="int64", bits=4) as mode:
        model(x).sum().backward()
    assert steps not in str(mode.tally)
    assert fewer not in str(mode.tally)
    assert "\n(model)   linear    forward" in mode.tally.table(by="layer")


def test_a_ratio_of_some_of_the_gemms_is_said_to_be_theirs():
    tally = Tally()
    tally.by_place["a", "linear", "forward"].add(
        gemms=1, dense_macs=10, unpacked=1, unpacked_macs=10, low_bit_macs=20
    )
    assert tally.table().splitlines()[2].endswith("r: low-bit MACs over MACs")
    tally.by_place["b", "linear", "forward"].add(gemms=1, dense_macs=30)
    lines = tally.table(by="layer").splitlines()
    assert [line.split()[-1] for line in lines[1:4]] == ["2.000", "–", "2.000"]
    assert lines[4].endswith("r: low-bit MACs over MACs of those GEMMs that were unpacked")


def test_an_empty_tally_can_be_printed():
    assert str(Tally()) == "0 GEMMs in integers"
    assert Tally().rows(by="layer") == []


def test_a_wrong_name_of_a_row_is_an_input_error():
    with pytest.raises(InputError, match="by: unknown value 'phase'"):
        Tally().table(by="phase")
