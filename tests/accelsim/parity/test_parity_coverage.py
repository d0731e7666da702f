"""The share of a model's multiplications that was in integers, and what is said where it is low."""

import pytest
import torch
from torch import nn

import accelsim
from accelsim.parity.coverage import add_tally, left_in_floats, shortfall


@torch.library.custom_op("accelsim_test::hidden_linear", mutates_args=())
def hidden_linear(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(x.numpy() @ w.numpy().T)


class Hides(nn.Module):
    """A linear layer of 2 * 8 * 8 multiplications, and an operator whose insides nobody sees."""

    def __init__(self, hides):
        super().__init__()
        self.first, self.last, self.hides = nn.Linear(8, 8), nn.Linear(8, 24), hides

    def forward(self, x):
        y = self.first(x)
        return self.last(hidden_linear(y, self.first.weight) if self.hides else y)


def tally(hides=True, **options):
    with torch.no_grad(), accelsim.integer_gemms(Hides(hides), beta=15, **options) as mode:
        mode.model(torch.randn(2, 8))
    return mode.tally.summary()


def test_what_was_not_chosen_is_no_warning_but_does_not_meet_a_demand():
    found = tally(hides=False, skip=["last"])
    assert found["coverage"] == 0.25
    assert shortfall(found, None) == ""
    assert shortfall(found, 0.25) == ""
    assert shortfall(found, 0.26) == (
        "25.00% of the multiplications were in integers, 26.00% is required: "
        "384 multiplications were not chosen"
    )
    assert shortfall(tally(hides=False), 1.0) == ""
    assert shortfall({}, 1.0) == ""


def test_an_operator_that_may_hide_gemms_is_named_and_meets_no_demand():
    found = tally()
    assert "accelsim_test::hidden_linear" in left_in_floats(found)
    assert "accelsim_test::hidden_linear" in shortfall(found, None)
    assert "0.01% is required" in shortfall(found, 0.0001)


@pytest.mark.parametrize(("left", "warned"), [(1, ""), (2, "left in floats: why (1 times)")])
def test_a_warning_from_one_percent_on(left, warned):
    found = {
        "dense_macs": 99,
        "not_chosen_macs": 0,
        "skipped_macs": left,
        "skipped_unknown": 0,
        "skipped": {"why": 1},
        "coverage": 99 / (99 + left),
    }
    assert shortfall(found, None).endswith(warned)
    assert bool(shortfall(found, None)) == bool(warned)


def test_the_steps_of_a_training_run_add_up():
    one, other = tally(), tally(skip=["last"])
    found = add_tally(add_tally({}, one), other)
    for name in ("dense_macs", "not_chosen_macs", "skipped_macs", "skipped_unknown"):
        assert found[name] == one[name] + other[name]
    assert found["skipped"] == {reason: 2 * count for reason, count in one["skipped"].items()}
    assert found["coverage"] == found["dense_macs"] / (
        found["dense_macs"] + found["not_chosen_macs"] + found["skipped_macs"]
    )
