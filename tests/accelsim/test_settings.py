"""Values by kind of operand, and strategies as values."""

import pytest

from accelsim.errors import InputError
from accelsim.settings import KINDS, PerKind
from accelsim.types import StrategyChoice
from accelsim.unpack import split_options


def test_a_mapping_is_spread_over_the_kinds():
    found = PerKind.spread({"default": 31, "gradients": 1023})
    assert [found.of(kind) for kind in KINDS] == [31, 31, 31, 1023]
    assert found.map(lambda beta: beta + 1).gradients == 1024
    assert PerKind.spread({"weights": 1, "activations": 2, "attention": 3, "gradients": 4}) == (
        PerKind(1, 2, 3, 4)
    )
    with pytest.raises(InputError, match="nothing for activations, attention, and no 'default'"):
        PerKind.spread({"weights": 1, "gradients": 2})
    with pytest.raises(InputError, match="unknown kind 'weight'; did you mean 'weights'"):
        PerKind.spread({"weight": 1, "default": 2})


@pytest.mark.parametrize(
    ("values", "record"),
    [
        ((7, 7, 7, 7), 7),
        ((31, 31, 31, 1023), {"default": 31, "gradients": 1023}),
        ((127, 63, 63, 63), {"default": 63, "weights": 127}),
        ((1, 1, 2, 2), {"default": 1, "attention": 2, "gradients": 2}),
        ((1, 2, 3, 4), {"weights": 1, "activations": 2, "attention": 3, "gradients": 4}),
    ],
)
def test_a_record_is_the_shortest_mapping_and_is_read_back(values, record):
    found = PerKind(*values)
    assert found.to_record() == record
    again = PerKind.spread(record) if isinstance(record, dict) else PerKind.all(record)
    assert again == found


def test_a_strategy_is_read_back_from_its_text():
    choice = StrategyChoice("lanes", {"width": 4, "order": ["a", "b"], "name": "x"})
    assert str(choice) == "lanes(width=4, order=['a', 'b'], name='x')"
    assert StrategyChoice(*split_options(str(choice))) == choice
    assert len({choice, StrategyChoice("lanes", {"width": 5}), StrategyChoice("lanes")}) == 3
    assert StrategyChoice("mix").to_record() == str(StrategyChoice("mix")) == "mix"
