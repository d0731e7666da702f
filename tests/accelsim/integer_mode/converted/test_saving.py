"""What converted models save, and what they refuse to load."""

import io
import json

import pytest
import torch
from converted_models import BETA, converted, mlp, rows
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

import accelsim
from accelsim import IntegerConfig
from accelsim.errors import DataError, InputError

NAMES = ["weight", "weight_scale", "weight_exponent", "weight_offsets", "weight_columns",
         "weight_values", "weight_format"]  # fmt: skip


def other(**settings):
    """Return a converted model with other weights."""
    torch.manual_seed(9)
    model = nn.Sequential(nn.Linear(33, 24), nn.ReLU(), nn.Linear(24, 5))
    return converted(model, **settings)


def on_meta():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(33, 24), nn.ReLU(), nn.Linear(24, 5))
    accelsim.quantize_(model, IntegerConfig(BETA))
    return model


def by_torch(state, path):
    torch.save(state, path)
    return torch.load(path)


def by_safetensors(state, path):
    save_file(state, path)
    return load_file(path)


@pytest.mark.parametrize("saved", [by_torch, by_safetensors])
@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_state_dict_is_saved_and_loaded(tmp_path, saved, granularity, bits):
    settings = {"granularity": granularity, "bits": bits}
    twin, x = converted(mlp(), **settings), rows(4, 33)
    state = saved(twin.state_dict(), tmp_path / "file")
    for assign in (False, True):
        loaded = other(**settings)
        assert not torch.equal(loaded(x), twin(x))
        loaded.load_state_dict(state, assign=assign)
        assert torch.equal(loaded(x), twin(x))
    assert {*state} == {"0.bias", "2.bias", *(f"{i}.{name}" for i in "02" for name in NAMES)}
    assert state["0.weight"].dtype == (torch.uint8 if bits == 4 else torch.int8)


def test_a_model_on_the_meta_device_loads_what_was_saved():
    twin, model, x = converted(mlp()), on_meta(), rows(4, 33)
    with pytest.raises((RuntimeError, NotImplementedError)):
        model(x).sum().item()
    model.load_state_dict(twin.state_dict(), assign=True)
    assert torch.equal(model(x), twin(x))


def test_every_tensor_is_covered_by_a_digest():
    for name in NAMES[:-1]:
        state = converted(mlp(), granularity="row").state_dict()
        tensor = state[f"0.{name}"]
        bits = tensor.view(torch.uint8) if tensor.ndim else tensor.reshape(1).view(torch.uint8)
        if not bits.numel():
            continue
        bits.reshape(-1)[0] ^= 1
        with pytest.raises(DataError, match=f"^0.{name} was changed after it was saved"):
            other(granularity="row").load_state_dict(state)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.pop("0.weight_columns"), DataError, "0.weight_columns is missing"),
        (lambda s: s.update({"0.weight": s["0.weight"][:-1]}), DataError, "0.weight was changed"),
        (lambda s: s.update({"0.weight": torch.zeros(24, 33)}), InputError, "found torch.float32"),
        (lambda s: s["0.weight_format"].fill_(0), DataError, "0.weight_format was changed"),
    ],
)
def test_what_is_no_converted_layer_is_refused(change, error, message):
    state = converted(mlp()).state_dict()
    change(state)
    with pytest.raises(error, match=message):
        other().load_state_dict(state)


def test_a_newer_version_and_other_settings_are_refused():
    state = converted(mlp()).state_dict()
    about = json.loads(bytes(state["0.weight_format"].numpy()))
    about["schema"] += 1
    newer = torch.frombuffer(bytearray(json.dumps(about).encode()), dtype=torch.uint8)
    with pytest.raises(InputError, match="version 2 is newer than 1, the newest that this"):
        other().load_state_dict({**state, "0.weight_format": newer})
    with pytest.raises(InputError, match=r"was made with beta=.* this model was converted with 31"):
        other(beta=31).load_state_dict(state)


def test_another_shape_is_refused():
    model = converted(nn.Sequential(nn.Linear(32, 24)))
    state = {name: x for name, x in converted(mlp()).state_dict().items() if name[0] == "0"}
    with pytest.raises(InputError, match=r"0.weight does not have the shape \[24, 32\]"):
        model.load_state_dict(state)


def test_a_file_that_is_cut_off_is_an_error(tmp_path):
    save_file(converted(mlp()).state_dict(), tmp_path / "file")
    whole = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SafetensorError):
        load_file(tmp_path / "file")


def test_a_file_takes_about_half_of_what_bfloat16_does():
    model = nn.Sequential(nn.Linear(512, 512, bias=False)).bfloat16()
    sizes = []
    for each in (model, converted(model, granularity="row"), converted(model, beta=14, bits=4)):
        file = io.BytesIO()
        torch.save(each.state_dict(), file)
        sizes.append(file.tell())
    assert sizes[1] < 0.55 * sizes[0]
    assert sizes[2] < 0.45 * sizes[0]
