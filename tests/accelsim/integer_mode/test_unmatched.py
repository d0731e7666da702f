"""Globs of GEMMs that match nothing are errors, with the names that there are."""

import pytest
import torch
from torch import nn

import accelsim
from accelsim.config.plans import load_plan
from accelsim.errors import InputError


def run(model, x, **options):
    with accelsim.integer_gemms(model, beta=15, **options) as mode, torch.no_grad():
        model(x)
    return mode.tally.total.gemms


def test_a_glob_that_matches_nothing_in_the_model_is_an_error_before_it_runs(tmp_path):
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    plan = tmp_path / "plan.yaml"
    plan.write_text("schema: 1\ngemms: {'0': {beta: 15}, 'nothing*': {beta: 31}}\n")
    options = ({"gemms": ["0", "nothing*"]}, {"skip": ["nothing*"]}, {"plan": plan})
    for key, given in zip(("gemms", "skip", "plan"), options, strict=True):
        with pytest.raises(InputError) as caught, accelsim.integer_gemms(model, beta=15, **given):
            pytest.fail("the context has opened")
        expected = f"{key}: no GEMM can match 'nothing*'; layers with weights: 0, 2"
        assert str(caught.value) == expected


def test_globs_of_what_has_no_name_of_a_module_open_the_context():
    layer, x = nn.Linear(4, 3), torch.randn(2, 4)
    assert run(layer, x, gemms=["matmul"]) == 1
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    with accelsim.integer_gemms(attention, beta=15, gemms=["*qk"]) as mode, torch.no_grad():
        attention(torch.randn(1, 3, 4), torch.randn(1, 3, 4), torch.randn(1, 3, 4))
    assert mode.tally.total.gemms == 1


def test_a_glob_of_a_layer_without_gemms_is_an_error_at_the_end():
    model, x = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), torch.randn(2, 4)
    assert run(model, x, gemms=["0", "2"]) == 2
    assert run(model, x, skip=["2"]) == 1
    for key, globs in (("gemms", ["0", "1*"]), ("skip", ["1*"])):
        with pytest.raises(InputError) as caught:
            run(model, x, **{key: globs})
        assert str(caught.value) == f"{key}: no GEMM matches '1*'; the model ran: 0, 2"


def test_an_error_of_the_model_is_not_hidden_and_no_run_is_no_error():
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(4, 3), nn.ReLU())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(model, torch.randn(2, 4), gemms=["2*"])
    with accelsim.integer_gemms(model, beta=15, gemms=["2*"]):
        pass


def test_many_names_are_listed_by_their_form():
    layers = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(41))
    model = nn.Sequential(*layers)
    with pytest.raises(InputError) as caught:
        run(model, torch.ones(1, 2), gemms=["nothing*"])
    assert str(caught.value).endswith("; layers with weights: *")
    with pytest.raises(InputError) as caught:
        run(nn.Sequential(*layers, nn.ReLU()), torch.ones(1, 2), gemms=["41"])
    assert str(caught.value).endswith("; the model ran: *")


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.convolution = nn.Conv1d(8, 8, 3)

    def forward(self, tokens):
        x = self.embedding(tokens)
        x = self.lstm(self.attention(x, x, x)[0])[0]
        return self.convolution(x.mT)


def test_names_that_a_message_lists_are_globs_of_gemms():
    model, tokens = Attending(), torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(InputError) as caught:
        run(model, tokens, gemms=["nothing"])
    names = str(caught.value).partition("layers with weights: ")[2].split(", ")
    assert names == ["attention", "lstm", "convolution"]
    assert [run(model, tokens, gemms=[name]) for name in names] == [2, 5, 1]


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("lstm#2", "lstm"),
        ("lstm#12.dx", "lstm"),
        ("attention#2.dw", "attention"),
        ("attention.qk.dq", "attention.qk"),
        ("convolution.dw", "convolution"),
    ],
)
def test_the_name_of_one_gemm_of_a_bundle_is_answered_with_its_layer(tmp_path, name, layer):
    model, tokens = Attending(), torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(InputError) as caught:
        run(model, tokens, gemms=[name])
    assert f"no GEMM can match {name!r}; {layer!r} has all GEMMs of this layer" in str(caught.value)
    assert run(model, tokens, gemms=[layer]) > 0
    path = tmp_path / "plan.yaml"
    path.write_text(f"schema: 1\ngemms: {{'{name}': {{beta: 15}}}}\n")
    with pytest.raises(InputError, match=f"{layer!r} has all GEMMs of this layer, which go togeth"):
        load_plan(path).check(["head", layer])
