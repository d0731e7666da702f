"""Converted models: the integers of `integer_gemms`, compiled or not, whatever the model."""

import copy
import io
import itertools
import pickle

import pytest
import torch
from converted_models import BETA, converted, mlp, reference, rows
from torch import nn

import accelsim
from accelsim import IntegerConfig
from accelsim.arithmetic.rounding import quantize
from accelsim.errors import DataError, InputError
from accelsim.integer_mode.converted.digits import stored
from accelsim.integer_mode.converted.modules import ExactLinear

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize(
    ("bits", "backend"), [(8, None), (4, None), (8, "cpu-int8"), (4, "emulator")]
)
def test_outputs_are_those_of_integer_gemms_bit_for_bit(dtype, granularity, bits, backend):
    model = mlp(dtype)
    settings = {"granularity": granularity, "bits": bits, "backend": backend}
    twin = converted(model, **settings)
    for shape in [(7, 33), (1, 33), (2, 3, 33), (33,)]:
        x = rows(*shape, dtype=dtype)
        with torch.no_grad():
            expected = reference(model, lambda m: m(x), **settings)  # noqa: B023
            assert torch.equal(twin(x), expected)


def test_an_empty_batch_has_an_empty_result():
    assert converted(mlp())(torch.empty(0, 33)).shape == (0, 5)
    assert converted(mlp(torch.float16))(torch.empty(2, 0, 33).half()).shape == (2, 0, 5)


@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_zeros_have_a_product(granularity):
    model = mlp()
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].weight[1, 4] = 1
    x = rows(4, 33)
    x[2] = 0
    twin = converted(model, granularity=granularity)
    with torch.no_grad():
        assert torch.equal(twin(x), reference(model, lambda m: m(x), granularity=granularity))
    nothing = nn.Linear(3, 2, bias=False)
    nothing.weight.data.zero_()
    assert torch.equal(converted(nothing)(torch.ones(1, 3)), torch.zeros(1, 2))


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 16])
@pytest.mark.parametrize("beta", [3, 31, 255, 1e6, 3e9])
def test_integers_are_kept_whatever_their_size(bits, beta):
    torch.manual_seed(2)
    weight = torch.randn(6, 7) * torch.tensor([1, 1e4, 1, 0, 1, 1e6])[:, None]
    for granularity in ("tensor", "row"):
        rounded = quantize(weight, 95, beta, granularity)
        kept = stored(rounded, bits)
        assert torch.equal(kept.integers(7), rounded.rounded)
        assert torch.equal(kept.scale, rounded.scale)


def test_digits_of_4_bits_are_packed_and_few_bytes_are_kept():
    weight = torch.randn(64, 128)
    eight = stored(quantize(weight, 95, 127, "row"), 8)
    four = stored(quantize(weight, 100, 14, "row"), 4)
    assert eight.digits.nbytes == 64 * 128
    assert four.digits.nbytes == 64 * 64
    assert not four.values.numel()
    kept = sum(x.nbytes for x in eight.tensors.values())
    assert kept < 0.6 * weight.bfloat16().nbytes


@pytest.mark.parametrize("where", ["activation", "weight"])
def test_nan_is_an_error_that_names_the_layer(where):
    model = mlp()
    if where == "weight":
        model[2].weight.data[0, 1] = torch.nan
        before = copy.deepcopy(model.state_dict())
        with pytest.raises(DataError, match=r"the weight of 2: found nan at \[0, 1\]"):
            accelsim.quantize_(model, IntegerConfig(beta=31))
        assert type(model[0]) is nn.Linear
        assert before.keys() == model.state_dict().keys()
        return
    twin = converted(model)
    x = rows(3, 33)
    x[1, 4] = torch.inf
    with pytest.raises(DataError, match=r"^0: activations: found inf at \[1, 4\]"):
        twin(x)


def test_one_compilation_serves_any_number_of_tokens_and_gives_the_same_bits():
    twin = converted(mlp(), granularity="row")
    compilations = itertools.count()

    def counting(graph, inputs):
        next(compilations)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(twin, fullgraph=True, dynamic=True, backend=counting)
    through_inductor = torch.compile(twin, fullgraph=True, dynamic=True)
    with torch.no_grad():
        for count in (3, 64, 5, 17):
            x = rows(count, 33)
            assert torch.equal(compiled(x), twin(x))
            assert torch.equal(through_inductor(x), twin(x))
    assert next(compilations) == 1


def test_a_compiled_model_raises_for_nan():
    torch._dynamo.reset()
    compiled = torch.compile(converted(mlp()), fullgraph=True, backend="aot_eager")
    with pytest.raises(DataError, match="found nan"):
        compiled(torch.full((2, 33), torch.nan))


def test_operators_pass_the_checks_of_torch():
    from accelsim.integer_mode.converted.operators import exact_linear, exact_matmul

    layer = converted(nn.Linear(6, 4), granularity="row")
    arguments = rows(3, 6).requires_grad_(), *layer.stored.tensors.values(), layer.settings
    torch.library.opcheck(exact_linear, arguments)
    a, b = rows(3, 6).requires_grad_(), rows(5, 6).requires_grad_()
    torch.library.opcheck(exact_matmul, (a, b, "activations", "weights", layer.settings))


def step(model, x):
    model.zero_grad()
    x = x.clone().requires_grad_()
    y = model(x)
    (y.float() ** 2).sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_a_training_step_is_that_of_integer_gemms(dtype, granularity):
    model, x = mlp(dtype), rows(2, 5, 33, dtype=dtype) / 50
    expected = reference(model, lambda m: step(m, x), granularity=granularity)
    twin = converted(model, granularity=granularity, training=True)
    for found, right in zip(step(twin, x), expected, strict=True):
        assert torch.equal(found, right)


def test_weights_are_rounded_in_every_step_of_training():
    model, x = mlp(), rows(4, 33)
    twin = converted(model, training=True)
    for each in (model, twin):
        optimizer = torch.optim.SGD(each.parameters(), 1e-4)
        for _ in range(3):
            if each is model:
                reference(each, lambda m: step(m, x))
            else:
                step(each, x)
            optimizer.step()
    assert all(map(torch.equal, model.parameters(), twin.parameters()))


def test_the_gradient_of_a_converted_models_input_is_that_of_integer_gemms():
    model, x = mlp(), rows(4, 33)
    expected = reference(model, lambda m: step(m, x))[1]
    assert torch.equal(step(converted(model), x)[1], expected)


def test_by_rows_the_gradient_of_the_input_is_that_of_the_restored_weights():
    twin = converted(mlp(), granularity="row")
    restored = accelsim.dequantize_(copy.deepcopy(twin))
    gradient = torch.ones(4, 5)
    for each in (twin[2], restored[2]):
        y = torch.randn(4, 24, generator=torch.Generator().manual_seed(3)).requires_grad_()
        if each is twin[2]:
            each(y).backward(gradient)
            found = y.grad
        else:
            with accelsim.integer_gemms(each, BETA, granularity="row"):
                each(y).backward(gradient)
    assert torch.equal(found, y.grad)


def test_infinite_gradients_make_the_products_nan():
    for training in (True, False):
        model = converted(mlp(), training=training)
        x = rows(2, 33).requires_grad_()
        model(x).backward(torch.tensor([[1.0, torch.inf, 0, 0, 0]]).expand(2, 5))
        assert x.grad.isnan().all()


@pytest.mark.parametrize("training", [True, False])
def test_autocast_is_followed(training):
    model, x = mlp(), rows(4, 33)
    twin = converted(model, training=training)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        y = twin(x)
        assert y.dtype == torch.bfloat16
        if training:
            assert torch.equal(y, reference(model, lambda m: m(x)))
    with torch.no_grad():
        plain = twin(x)
    assert plain.dtype == torch.float32
    assert not torch.equal(y.float(), plain)


def pickled(model):
    return pickle.loads(pickle.dumps(model))


def through_a_file(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, pickled, through_a_file, lambda m: m.to("cpu"), lambda m: m.float()]
)
def test_copies_compute_the_same(copied):
    twin, x = converted(mlp(), granularity="row"), rows(4, 33)
    expected = twin(x)
    assert torch.equal(copied(twin)(x), expected)


def test_a_change_of_type_leaves_the_integers_alone():
    twin, x = converted(mlp(), granularity="row"), rows(4, 33)
    before = {name: y.clone() for name, y in twin[0].stored.tensors.items()}
    twin.half()
    assert twin[0].bias.dtype == torch.float16
    for name, tensor in twin[0].stored.tensors.items():
        assert tensor.dtype == before[name].dtype
        assert torch.equal(tensor, before[name])
    expected = reference(mlp().half(), lambda m: m(x.half()), granularity="row")
    assert twin(x.half()).dtype == torch.float16
    assert twin(x.half()).shape == expected.shape


def test_digits_are_not_cast():
    twin, x = converted(mlp()), rows(4, 33)
    expected = twin(x)
    with pytest.raises(InputError, match=r"^0: the digits of a weight can't be cast"):
        twin.type(torch.float16)
    assert torch.equal(twin(x), expected)


def test_a_converted_model_keeps_its_integers_inside_of_integer_gemms():
    twin, x = converted(mlp()), rows(4, 33)
    expected = twin(x)
    with accelsim.integer_gemms(twin, beta=3):
        assert torch.equal(twin(x), expected)


def test_a_converted_model_is_exported():
    twin = converted(mlp(), granularity="row")
    sizes = ({0: torch.export.Dim("n")},)
    program = torch.export.export(twin, (rows(4, 33),), dynamic_shapes=sizes)
    assert torch.equal(program.module()(rows(9, 33)), twin(rows(9, 33)))


def test_dequantize_goes_back():
    model, x = mlp(torch.bfloat16), rows(4, 33, dtype=torch.bfloat16)
    twin = converted(model)
    kept = twin[0].float_weight()
    assert accelsim.dequantize_(twin) is twin
    assert type(twin[0]) is nn.Linear
    assert twin.state_dict().keys() == model.state_dict().keys()
    assert torch.equal(twin[0].weight, kept.bfloat16())
    step_size = 1 / quantize(model[0].weight, 95, 127).scale
    assert (twin[0].weight.float() - model[0].weight.float()).abs().max() <= step_size
    assert twin(x).dtype == torch.bfloat16
    trained = converted(model, training=True)
    accelsim.dequantize_(trained)
    assert torch.equal(trained(x), model(x))
    with pytest.raises(InputError, match="no converted layers"):
        accelsim.dequantize_(model)


def test_weights_that_are_written_to_are_taken_anew():
    twin, x = converted(mlp(), backend="cpu-int8"), rows(4, 33)
    before = twin(x)
    twin[0].weight.neg_().clamp_(-127, 127)
    assert not torch.equal(twin(x), before)


def test_check_passes_where_nothing_is_wrong_and_refuses_float_models():
    twin = converted(mlp())
    twin(rows(2, 33))
    accelsim.check(twin)
    with pytest.raises(InputError, match="no converted layers"):
        accelsim.check(mlp())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"beta": 0}, "beta of default: found 0"),
        ({"beta": {"weight": 3}}, "did you mean 'weights'"),
        ({"granularity": "rows"}, "did you mean 'row'"),
        ({"bits": 1}, "bits: found 1"),
        ({"digits": "balance"}, "did you mean 'balanced'"),
        ({"tied": "both"}, "tied: unknown value 'both'"),
        ({"strategy": "mix"}, "name a backend"),
        ({"skip": "head"}, "expected a list of globs"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        IntegerConfig(**{"beta": 31, **settings})


def test_settings_survive_json():
    from accelsim.types import PerOperand

    config = IntegerConfig(BETA, granularity="row", bits=PerOperand(8, 4), skip=["*.head"])
    assert IntegerConfig.from_dict(config.to_dict()) == config
    with pytest.raises(InputError, match="did you mean 'granularity'"):
        IntegerConfig.from_dict({"beta": 3, "granularty": "row"})


def test_a_single_layer_is_converted_too():
    layer = nn.Linear(1, 3)
    accelsim.quantize_(layer, IntegerConfig(beta=31))
    assert isinstance(layer, ExactLinear)
    assert layer(torch.ones(4, 1)).shape == (4, 3)
    with pytest.raises(InputError, match="expected 1 in its last dimension"):
        layer(torch.ones(4, 2))
