"""Converted models of Hugging Face: loaded, saved, loaded again, generating, compiled."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers", minversion="5")

from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, LlamaModel

import accelsim
import accelsim.huggingface
from accelsim import IntegerConfig
from accelsim.errors import DataError
from accelsim.integer_mode.converted.modules import ExactLinear, ExactTrainingLinear

PAGE = Path(__file__).parents[4] / "docs" / "models.md"
CONFIG = IntegerConfig({"weights": 127, "default": 63}, granularity="row")
IDS = torch.arange(3, 12).reshape(1, 9)


def llama(tied=False, dtype=torch.bfloat16):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
        eos_token_id=None,
    )
    return LlamaForCausalLM(config).to(dtype).eval()


@pytest.fixture
def folder(tmp_path):
    llama().save_pretrained(tmp_path / "float")
    return tmp_path / "float"


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def load(folder, **options):
    return AutoModelForCausalLM.from_pretrained(folder, **options)


def test_a_folder_is_loaded_converted_saved_and_loaded_again(folder, tmp_path):
    model = load(folder, quantization_config=CONFIG)
    assert isinstance(model.model.layers[0].self_attn.q_proj, ExactLinear)
    twin = llama()
    with (
        accelsim.integer_gemms(twin, CONFIG.beta, granularity="row", ops=("linear",)),
        torch.no_grad(),
    ):
        expected = twin(IDS).logits
    assert torch.equal(logits(model), expected)
    model.save_pretrained(tmp_path / "exact")
    saved = json.loads((tmp_path / "exact/config.json").read_text())["quantization_config"]
    assert saved["quant_method"] == "accelsim"
    assert saved["beta"] == CONFIG.beta
    again = load(tmp_path / "exact")
    assert torch.equal(logits(again), expected)
    assert {*again.state_dict()} == {*model.state_dict()}
    assert {*llama().state_dict()} <= {*load_file(tmp_path / "exact/model.safetensors")}
    half = load(tmp_path / "exact", dtype=torch.float16)
    kept = half.model.layers[0].mlp.up_proj
    assert kept.weight_scale.dtype == torch.float32
    assert torch.equal(kept.weight_scale, again.model.layers[0].mlp.up_proj.weight_scale)
    again.save_pretrained(tmp_path / "twice")
    first, second = (tmp_path / name / "model.safetensors" for name in ("exact", "twice"))
    assert first.read_bytes() == second.read_bytes()


def test_a_model_that_quantize_converted_is_saved_as_one(folder, tmp_path):
    """Without its settings the digits would be loaded as weights."""
    model = load(folder)
    accelsim.quantize_(model, CONFIG)
    model.save_pretrained(tmp_path / "exact")
    assert json.loads((tmp_path / "exact/config.json").read_text())["quantization_config"]
    again = load(tmp_path / "exact")
    assert torch.equal(logits(again), logits(model))
    for converted in (model, again):
        accelsim.dequantize_(converted)
        converted.save_pretrained(tmp_path / "floats")
        assert "quantization_config" not in json.loads(
            (tmp_path / "floats/config.json").read_text()
        )
        assert torch.equal(logits(load(tmp_path / "floats")), logits(converted))


def test_the_base_model_of_a_saved_model_is_loaded(folder, tmp_path):
    model = load(folder, quantization_config=CONFIG)
    model.save_pretrained(tmp_path / "exact")
    base = LlamaModel.from_pretrained(tmp_path / "exact")
    with torch.no_grad():
        assert torch.equal(base(IDS).last_hidden_state, model.model(IDS).last_hidden_state)


def test_generation_goes_token_by_token_and_compiled(folder):
    model = load(folder, quantization_config=CONFIG)
    plain = model.generate(IDS, max_new_tokens=4, do_sample=False)
    assert plain.shape == (1, 13)
    torch._dynamo.reset()
    model.forward = torch.compile(model.forward, fullgraph=True, dynamic=True, backend="aot_eager")
    assert torch.equal(model.generate(IDS, max_new_tokens=4, do_sample=False), plain)


@pytest.mark.parametrize("tied", ["float", "integer"])
def test_tied_weights_are_kept_or_left_as_the_option_says(tmp_path, tied):
    llama(tied=True).save_pretrained(tmp_path / "float")
    config = IntegerConfig(63, granularity="row", tied=tied)
    if tied == "float":
        with pytest.warns(UserWarning, match="lm_head: the weight also belongs"):
            model = load(tmp_path / "float", quantization_config=config)
    else:
        model = load(tmp_path / "float", quantization_config=config)
    assert isinstance(model.lm_head, ExactLinear) == (tied == "integer")
    model.save_pretrained(tmp_path / "exact")
    again = load(tmp_path / "exact")
    assert isinstance(again.lm_head, ExactLinear) == (tied == "integer")
    assert torch.equal(logits(again), logits(model))


def tampered(tensors):
    name = "model.layers.1.mlp.down_proj.weight"
    tensors[name][3, 2] ^= 1
    return f"{name} was changed after it was saved"


def rescaled(tensors):
    name = "model.layers.0.self_attn.k_proj.weight_scale"
    tensors[name] *= 2
    return f"{name} was changed after it was saved"


def without_columns(tensors):
    name = "model.layers.0.self_attn.k_proj.weight_columns"
    del tensors[name]
    return f"{name} is missing"


@pytest.mark.parametrize("damage", [tampered, rescaled, without_columns])
def test_a_file_that_was_changed_is_an_error(folder, tmp_path, damage):
    load(folder, quantization_config=CONFIG).save_pretrained(tmp_path / "exact")
    file = tmp_path / "exact/model.safetensors"
    tensors = load_file(file)
    message = damage(tensors)
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(DataError, match=message):
        load(tmp_path / "exact")


def test_a_file_that_is_cut_off_is_an_error(folder, tmp_path):
    load(folder, quantization_config=CONFIG).save_pretrained(tmp_path / "exact")
    file = tmp_path / "exact/model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged or cut off"):
        load(tmp_path / "exact")


def test_models_are_converted_for_training_and_saved_in_floats(folder, tmp_path):
    config = IntegerConfig(31, training=True)
    model = load(folder, quantization_config=config)
    assert isinstance(model.model.layers[0].mlp.up_proj, ExactTrainingLinear)
    model(IDS, labels=IDS).loss.backward()
    assert model.model.layers[0].mlp.up_proj.weight.grad.isfinite().all()
    model.save_pretrained(tmp_path / "exact")
    again = load(tmp_path / "exact")
    assert isinstance(again.model.layers[0].mlp.up_proj, ExactTrainingLinear)
    assert torch.equal(logits(again), logits(model))


def test_dequantizing_gives_a_plain_model(folder):
    model = load(folder, quantization_config=CONFIG)
    plain = copy.deepcopy(model).dequantize()
    assert type(plain.lm_head) is torch.nn.Linear
    assert {*plain.state_dict()} == {*llama().state_dict()}
    assert logits(plain).dtype == torch.bfloat16


def test_the_pages_own_lines_do_what_they_say(tmp_path, monkeypatch, capsys):
    llama().save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(block, names)
    assert isinstance(names["model"].lm_head, ExactLinear)
    assert (tmp_path / "exact/model.safetensors").is_file()
    assert capsys.readouterr().out.endswith("2 linear layers multiply exact integers\n")
    assert type(names["net"][0]) is torch.nn.Linear


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_one_compilation_serves_any_number_of_tokens(folder, backend):
    model = load(folder, quantization_config=CONFIG, dtype=torch.float32)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=backend)
    with torch.no_grad():
        for count in (5, 9, 30):
            ids = torch.arange(count)[None]
            found = compiled(ids, use_cache=False).logits
            right = model(ids, use_cache=False).logits
            assert torch.allclose(found, right, rtol=0, atol=0.05)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_without_transformers_the_message_says_how_to_install_it():
    code = "import sys; sys.modules['transformers'] = None; import accelsim.huggingface"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "InputError: transformers is missing: pip install" in run.stderr
