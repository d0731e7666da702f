"""What is left of an experiment, and what its parts are expected to take."""

import pytest
import torch
from torch import nn

from accelsim.parity import forecast
from accelsim.parity.progress import Course, ExpectedTime, Part
from accelsim.parity.sweep import TreatmentSweep


def course(parts, times):
    steps = []
    return Course(parts, steps.append, iter(times).__next__), steps


def test_a_resumed_part_tells_the_pace_by_what_it_has_done_itself():
    parts = [
        Part("a", 10, ExpectedTime(1.0)),
        Part("b", 10, ExpectedTime(1.0, before=5.0, after=2.0)),
    ]
    found, steps = course(parts, [0.0, 6.0, 12.0, 100.0])
    found.begin(0, 6)
    found.reach(8)
    here, later = (6 + 1) / (2 + 1), (6 + 2.7) / (2 + 2.7)
    assert steps[-1].seconds_left == pytest.approx(2 * here + 17 * later), "2 steps took 6 s"
    found.begin(1)
    pace = (12 + 2.7) / (4 + 2.7)
    assert steps[-1].seconds_left == pytest.approx(17 * pace), "4 steps took 12 s"
    assert steps[-1].share == pytest.approx(10 / 27)
    found.reach(10)
    here = (88 + 1.7 * pace) / (15 + 1.7)
    assert steps[-1].seconds_left == pytest.approx(2 * here), "what comes after is still to do"
    assert steps[-1].share == pytest.approx(25 / 27)


class Model(nn.Module):
    """Three equal blocks behind an embedding that is not multiplied, and a head."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(1000, 8)
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.head = nn.Linear(8, 16)

    def forward(self, tokens):
        x = self.table(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_a_forecast_grows_with_the_tokens_and_the_weights(monkeypatch):
    seconds = iter([3.0, 1.0, 0.5] * 4).__next__
    monkeypatch.setattr(forecast, "seconds_of", lambda work: seconds())
    model, inputs = Model(), torch.zeros(4, 2 * forecast.TOKENS, dtype=torch.int64)
    treatments = TreatmentSweep(beta=[15, 31]).treatments()
    layers = 3 + 2  # the head counts as two blocks
    cost = ExpectedTime(each=1.0 * layers * 2, before=2.0 * layers, after=0.5 * layers)
    assert forecast.forecast(model, model, inputs, treatments) == [cost, cost]


def test_without_time_a_treatment_costs_what_others_of_its_method_do(monkeypatch):
    monkeypatch.setattr(forecast, "BUDGET_S", 0)
    seconds = iter([3.0, 1.0, 0.5]).__next__
    monkeypatch.setattr(forecast, "seconds_of", lambda work: seconds())
    model, inputs = Model(), torch.zeros(4, 8, dtype=torch.int64)
    treatments = TreatmentSweep(beta=[15, 31]).treatments()
    first, second = forecast.forecast(model, model, inputs, treatments)
    assert first == second
    assert first.before > 0
