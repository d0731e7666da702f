"""Globs of GEMMs that match nothing are errors, with the names that there are."""

import pytest
import torch
from torch import nn

import accelsim
from accelsim.errors import InputError


def run(model, x, **options):
    with accelsim.integer_gemms(model, beta=15, **options) as mode, torch.no_grad():
        model(x)
    return mode.tally.total.gemms


def test_a_glob_that_matches_nothing_is_an_error_at_the_end():
    model, x = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), torch.randn(2, 4)
    assert run(model, x, gemms=["0", "2"]) == 2
    assert run(model, x, skip=["2"]) == 1
    for key, globs in (("gemms", ["0", "nothing*"]), ("skip", ["nothing*"])):
        with pytest.raises(InputError) as caught:
            run(model, x, **{key: globs})
        assert str(caught.value) == f"{key}: no GEMM matches 'nothing*'; the model ran: 0, 2"


def test_an_error_of_the_model_is_not_hidden_and_no_run_is_no_error():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(4, 3))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(model, torch.randn(2, 4), gemms=["nothing*"])
    with accelsim.integer_gemms(model, beta=15, gemms=["nothing*"]):
        pass


def test_many_names_are_listed_by_their_form():
    layers = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(41))
    model = nn.Sequential(*layers)
    with pytest.raises(InputError) as caught:
        run(model, torch.ones(1, 2), gemms=["nothing*"])
    assert str(caught.value).endswith("; the model ran: *")
