"""Which layers of awkward models are converted, and what is said of the others."""

import copy
import sys
import types
import warnings

import pytest
import torch
from converted_models import converted, mlp, reference, rows
from torch import nn
from torch.nn.utils import parametrizations

import accelsim
from accelsim import IntegerConfig
from accelsim.errors import DataError, InputError
from accelsim.integer_mode.converted.modules import Exact, ExactLinear
from workloads.models.small import SmallGPT

CONFIG = IntegerConfig(beta=31)


def gpt():
    torch.manual_seed(0)
    return SmallGPT(vocabulary=50, context=16, width=16, layers=1, heads=2).eval()


IDS = torch.arange(12).reshape(1, 12)


def test_a_tied_output_layer_stays_in_floats_and_that_is_said():
    model = gpt()
    with pytest.warns(UserWarning, match=r"head: the weight also belongs .*tied='integer'"):
        done = accelsim.quantize_(model, CONFIG)
    assert done.left == {
        "head": "its weight also belongs to a module that stays in floats (tied='float')"
    }
    assert "head stays in floats" in str(done)
    assert model.head.weight is model.embed.weight
    with torch.no_grad():
        expected = reference(gpt(), lambda m: m(IDS), beta=31, skip=["head"])
        assert torch.equal(model(IDS), expected)


def test_a_tied_output_layer_can_have_integers_of_its_own():
    model = gpt()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = accelsim.quantize_(model, IntegerConfig(beta=31, tied="integer"))
    assert not done.left
    assert isinstance(model.head, ExactLinear)
    assert model.embed.weight.dtype == torch.float32
    with torch.no_grad():
        assert torch.equal(model(IDS), reference(gpt(), lambda m: m(IDS), beta=31))


def test_in_training_tied_weights_stay_one_parameter():
    model = gpt()
    accelsim.quantize_(model, IntegerConfig(beta=31, training=True))
    assert model.head.weight is model.embed.weight
    assert len(list(model.parameters())) == len(list(gpt().parameters()))


def test_layers_with_one_weight_share_its_digits():
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    expected = reference(copy.deepcopy(model), lambda m: m(rows(3, 6)))
    twin = converted(model)
    assert twin[0].stored.digits is twin[1].stored.digits
    assert torch.equal(twin(rows(3, 6)), expected)
    accelsim.dequantize_(twin)
    assert twin[0].weight is twin[1].weight


def test_a_layer_that_is_used_twice_is_converted_once():
    layer = nn.Linear(6, 6)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    expected = reference(copy.deepcopy(model), lambda m: m(rows(3, 6)))
    done = accelsim.quantize_(
        model,
        IntegerConfig(beta={"weights": 127, "activations": 63, "gradients": 1023, "default": 31}),
    )
    assert done.converted == ("0",)
    assert model[0] is layer
    assert model[2] is layer
    assert torch.equal(model(rows(3, 6)), expected)


class Doubling(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Named(nn.Linear):
    pass


class LowRank(nn.Module):
    """As adapters are made: a frozen layer and a product of two small ones beside it."""

    def __init__(self):
        super().__init__()
        self.base_layer = nn.Linear(8, 8)
        self.down, self.up = nn.Linear(8, 2, bias=False), nn.Linear(2, 8, bias=False)

    def forward(self, x):
        return self.base_layer(x) + self.up(self.down(x))


def test_subclasses_with_a_forward_of_their_own_stay_as_they_are():
    model = nn.Sequential(Doubling(8, 8), Named(8, 8))
    done = accelsim.quantize_(model, CONFIG)
    assert done.converted == ("1",)
    assert done.left == {"0": "its class Doubling has a forward of its own"}
    accelsim.dequantize_(model)
    assert type(model[1]) is Named


def test_adapters_are_trained_beside_a_converted_layer():
    model, x = LowRank(), rows(5, 8)
    accelsim.quantize_(model, CONFIG, lambda module, name: name == "base_layer")
    digits = model.base_layer.stored.digits.clone()
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), 1e-3)
    losses = []
    for _ in range(4):
        loss = (model(x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert torch.equal(model.base_layer.stored.digits, digits)


def test_weights_that_are_made_of_others_stay_as_they_are():
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(4, 4)),
        parametrizations.orthogonal(nn.Linear(4, 4)),
        nn.Linear(4, 4),
    )
    done = accelsim.quantize_(model, CONFIG)
    assert done.converted == ("2",)
    assert all("remove_parametrizations" in why for why in done.left.values())
    assert model(torch.ones(1, 4)).isfinite().all()


def test_modules_that_read_their_layers_weights_keep_them():
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, batch_first=True), nn.Linear(8, 3))
    done = accelsim.quantize_(model.eval(), CONFIG)
    assert done.converted == ("1",)
    assert set(done.left) == {"0.self_attn.out_proj", "0.linear1", "0.linear2"}
    with torch.no_grad():
        assert model(torch.randn(2, 5, 8)).shape == (2, 5, 3)


def test_float64_and_lazy_layers_are_named():
    model = nn.Sequential(nn.Linear(2, 2).double(), nn.LazyLinear(3), nn.Linear(2, 2))
    done = accelsim.quantize_(model, CONFIG)
    assert done.converted == ("2",)
    assert done.left["0"] == "its weight is torch.float64; expected float32, float16 or bfloat16"
    assert done.left["1"] == "its weight has no shape yet; run the model once"


def test_a_model_with_nothing_to_convert_is_an_error():
    with pytest.raises(InputError, match=r"has no linear layer to convert$"):
        accelsim.quantize_(nn.ReLU(), CONFIG)
    with pytest.raises(InputError, match="0: filter_fn leaves it out; 2: filter_fn"):
        accelsim.quantize_(mlp(), CONFIG, lambda module, name: False)
    with pytest.raises(InputError, match="config: found dict; expected an IntegerConfig"):
        accelsim.quantize_(mlp(), {"beta": 31})
    with pytest.raises(InputError, match="model: found str"):
        accelsim.quantize_("model", CONFIG)
    model = converted(mlp())
    with pytest.raises(InputError, match="has no linear layer to convert"):
        accelsim.quantize_(model, CONFIG)


def test_an_unknown_backend_is_an_error_before_anything_is_converted():
    model = mlp()
    with pytest.raises(InputError, match=r"unknown backend 'emulatr'; did you mean 'emulator'"):
        accelsim.quantize_(model, IntegerConfig(beta=31, backend="emulatr"))
    assert not any(isinstance(module, Exact) for module in model.modules())


def test_skip_takes_globs_that_match_something():
    done = accelsim.quantize_(mlp(), IntegerConfig(beta=31, skip=["2"]))
    assert done.left == {"2": "it is skipped"}
    with pytest.raises(InputError, match="no linear layer matches 'lm_head'; there are 0, 2"):
        accelsim.quantize_(mlp(), IntegerConfig(beta=31, skip=["lm_head"]))


def test_an_error_in_one_weight_leaves_the_model_as_it_was():
    model = mlp()
    model[2].weight.data[1, 1] = torch.inf
    kinds = [type(module) for module in model]
    with pytest.raises(DataError, match="the weight of 2"):
        accelsim.quantize_(model, CONFIG)
    assert [type(module) for module in model] == kinds


def test_hooks_of_a_layer_stay():
    model, seen = mlp(), []
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(type(module)))
    accelsim.quantize_(model, CONFIG)
    model(rows(2, 33))
    assert seen == [ExactLinear]


def test_no_floats_of_weights_are_kept():
    model = mlp()
    accelsim.quantize_(model, CONFIG)
    kept = [*model.parameters(), *model.buffers()]
    floats = [x for x in kept if x.is_floating_point()]
    assert sum(x.numel() for x in floats) == 24 + 5 + 2  # biases and scales
    model(rows(2, 33))
    assert isinstance(model[0], Exact)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_conv1d_of_hugging_face_is_a_linear_layer(training, granularity):
    utils = pytest.importorskip("transformers.pytorch_utils")
    torch.manual_seed(0)
    model, x = nn.Sequential(utils.Conv1D(6, 9), utils.Conv1D(4, 6)), rows(2, 3, 9)
    nn.init.normal_(model[0].bias)
    expected = reference(copy.deepcopy(model), lambda m: m(x), granularity=granularity)
    twin = converted(model, granularity=granularity, training=training)
    assert torch.equal(twin(x), expected)
    twin(x).sum().backward()
    accelsim.dequantize_(twin)
    assert type(twin[0]) is utils.Conv1D
    assert twin[0].weight.shape == (9, 6)


def test_conv1d_is_looked_for_only_where_transformers_is_imported(monkeypatch):
    from accelsim.integer_mode.converted.choice import linear_classes

    monkeypatch.setitem(sys.modules, "transformers.pytorch_utils", types.ModuleType("empty"))
    assert linear_classes() == (nn.Linear,)
