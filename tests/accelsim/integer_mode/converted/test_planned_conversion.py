"""Models converted by a plan: the integers of `integer_gemms` under the same plan."""

import copy
import io

import pytest
import torch
import yaml
from converted_models import mlp, rows
from torch import nn

import accelsim
from accelsim import IntegerConfig
from accelsim.config.plans import plan_from
from accelsim.errors import InputError
from accelsim.integer_mode.converted.modules import ExactLinear

GEMMS = {
    "*": {"beta": 31, "granularity": "row", "gradients": {"beta": 1023}},
    "2": {"weights": {"beta": 255, "percentile": 99}, "activations": {"beta": 7}, "bits": 4},
}


def plan(gemms=GEMMS):
    return {"schema": 1, "gemms": gemms}


def file(path, gemms=GEMMS):
    path.write_text(yaml.safe_dump(plan(gemms)))
    return path


def converted(model, **settings):
    twin = copy.deepcopy(model)
    conversion = accelsim.quantize_(twin, IntegerConfig(**settings))
    return twin, conversion


def reference(model, x, gemms=GEMMS, **settings):
    with accelsim.integer_gemms(model, plan=plan_from(plan(gemms)), ops=("linear",), **settings):
        return model(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("backend", [None, "cpu-int8", "emulator"])
def test_outputs_are_those_of_integer_gemms_bit_for_bit(tmp_path, dtype, backend):
    model, x = mlp(dtype), rows(2, 7, 33, dtype=dtype)
    path = file(tmp_path / "plan.yaml")
    twins = [
        converted(model, plan=given, backend=backend)[0]
        for given in (path, str(path), plan(), plan_from(plan()))
    ]
    with torch.no_grad():
        expected = reference(model, x, backend=backend)
        for twin in twins:
            assert torch.equal(twin(x), expected)
        uniform, _ = converted(model, beta=31, granularity="row")
        assert not torch.equal(uniform(x), expected)


def test_what_the_plan_leaves_out_is_as_in_the_config():
    model, x = mlp(), rows(7, 33)
    gemms = {"2": {"weights": {"beta": 255}}}
    twin, _ = converted(model, beta=63, percentile=98, plan=plan(gemms))
    with torch.no_grad():
        expected = reference(model, x, gemms, beta=63, percentile=98)
        assert torch.equal(twin(x), expected)


def test_gradients_are_those_of_integer_gemms_in_training(tmp_path):
    model, x = mlp(), rows(7, 33)
    gemms = {"*": {"beta": 63}, "0": {"weights": {"beta": 255}}}
    twin, _ = converted(model, training=True, plan=plan(gemms))
    twin(x).square().sum().backward()
    with accelsim.integer_gemms(model, plan=plan_from(plan(gemms)), ops=("linear",)):
        model(x).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert torch.equal(twin.get_parameter(name).grad, parameter.grad)


def test_each_layer_keeps_digits_of_its_own_width():
    twin, _ = converted(mlp(), plan=plan())
    digits = {name: m.stored.digits.dtype for name, m in twin.named_modules()
              if isinstance(m, ExactLinear)}  # fmt: skip
    assert digits == {"0": torch.int8, "2": torch.uint8}


def test_a_state_dict_is_loaded_under_the_same_plan_alone():
    twin, _ = converted(mlp(), plan=plan())
    stored = io.BytesIO()
    torch.save(twin.state_dict(), stored)
    stored.seek(0)
    state = torch.load(stored)
    torch.manual_seed(9)
    other = nn.Sequential(nn.Linear(33, 24), nn.ReLU(), nn.Linear(24, 5))
    again, _ = converted(other, plan=plan())
    again.load_state_dict(state)
    x = rows(3, 33)
    assert torch.equal(again(x), twin(x))
    uniform, _ = converted(other, beta=31, granularity="row")
    with pytest.raises(InputError, match=r"0\.weight was made with beta="):
        uniform.load_state_dict(state)


def test_settings_with_a_plan_are_read_back():
    config = IntegerConfig(beta={"weights": 63, "default": None}, plan=plan())
    again = IntegerConfig.from_dict(config.to_dict())
    assert again.to_dict() == config.to_dict()
    assert again.plan.hash == config.plan.hash


def test_a_weight_of_two_layers_has_integers_for_each_rounding():
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
    model[2].weight = model[0].weight
    gemms = {"0": {"beta": 15}, "2": {"beta": 255}}
    twin, _ = converted(model, plan=plan(gemms))
    x = torch.randn(5, 16)
    with torch.no_grad():
        assert torch.equal(twin(x), reference(model, x, gemms))
    assert not torch.equal(twin[0].stored.digits, twin[2].stored.digits)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x):
        return torch.nn.functional.scaled_dot_product_attention(self.q(x), self.k(x), self.v(x))


def test_products_of_attention_that_a_plan_names_are_said_to_stay_in_floats():
    model = nn.ModuleDict({"attn": Attention()})
    gemms = {"*": {"beta": 63}, "*.qk": {"beta": 127}, "attn.pv": {"beta": 7}}
    _, conversion = converted(model, plan=plan(gemms))
    assert conversion.converted == ("attn.q", "attn.k", "attn.v")
    assert conversion.left == {
        "*.qk": "products of attention stay in floats",
        "attn.pv": "products of attention stay in floats",
    }
    assert "attn.pv stays in floats: products of attention stay in floats" in str(conversion)


@pytest.mark.parametrize(
    ("gemms", "settings", "message"),
    [
        ({"*": {"beta": 31}, "*.down_proj": {"beta": 7}}, {},
         r"plan\.yaml: no linear layer matches '\*\.down_proj'; there are: 0, 2$"),
        ({"2": {"beta": 31}}, {}, r"plan\.yaml: 0: the plan gives no beta for its weights$"),
        ({"*": {"weights": {"beta": 31}}}, {},
         r"plan\.yaml: 0: the plan gives no beta for its activations$"),
        ({"*": {"weights": {"beta": 31}, "activations": {"beta": 31}}}, {"training": True},
         r"plan\.yaml: 0: the plan gives no beta for its gradients$"),
        ({"*": {"beta": 31}, "2": {"weights": {"granularity": "row"}}}, {},
         r"plan\.yaml: 2: a converted layer has one granularity; found row, tensor$"),
        ({"*": {"beta": 31}, "2": {"beta": 7, "phases": ["grad_input"]}}, {},
         r"plan\.yaml: 2: a converted layer rounds its weights alike in all phases; the plan gives "
         r"beta 31 at percentile 95 in one and beta 7 at percentile 95 in another$"),
        ({"*": {"beta": 31}, "2": {"activations": {"beta": 7}, "phases": ["grad_weight"]}},
         {"training": True}, "rounds its activations alike in all phases"),
        ({"*": {"beta": 31}, "2": {"bits": 4, "phases": ["forward"]}}, {},
         r"plan\.yaml: 2: a converted layer is unpacked alike in all phases$"),
        ({"*": {"beta": 31}, "2": {"block": 16}}, {"backend": "cpu-int8"},
         r"plan\.yaml: 2: the plan gives block, and products of converted layers cut K"),
        ({"*": {"beta": 31, "strategy": {"name": "best", "block": 8}}}, {"backend": "cpu-int8"},
         r"plan\.yaml: 0: found strategy best.*; expected a name without options"),
    ],
)  # fmt: skip
def test_what_a_converted_model_cannot_do_is_said(tmp_path, gemms, settings, message):
    model = mlp()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=message):
        accelsim.quantize_(model, IntegerConfig(plan=file(tmp_path / "plan.yaml", gemms),
                                                **settings))  # fmt: skip
    assert all(type(m) is not ExactLinear for m in model.modules())
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


def test_a_backward_pass_without_a_beta_for_gradients_is_an_error():
    gemms = {"*": {"weights": {"beta": 31}, "activations": {"beta": 31}}}
    twin, _ = converted(mlp(), plan=plan(gemms))
    x = rows(3, 33).requires_grad_()
    with pytest.raises(InputError, match="there is no beta for gradients"):
        twin(x).sum().backward()


def test_neither_beta_nor_plan_is_an_error():
    with pytest.raises(InputError, match="beta: it is missing"):
        IntegerConfig()
    with pytest.raises(InputError, match="plan: found int"):
        IntegerConfig(plan=3)
