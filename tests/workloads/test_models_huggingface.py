"""Local Hugging Face folders: a small Llama and a small BERT, made here, and GGUF files."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from accelsim.cli.workloads import command
from accelsim.errors import InputError
from workloads import open_bundle
from workloads.capture import Sampling
from workloads.models.extraction import extract
from workloads.models.huggingface import load
from workloads.models.listing import model_gemms
from workloads.models.opening import open_folder
from workloads.models.text import Text, read_text

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

WORDS = [f"w{index}" for index in range(40)]
TEXT = Text("words", " ".join(WORDS * 5))


def save(folder, model):
    torch.manual_seed(0)
    model.save_pretrained(folder)
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="w0"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "vocab_size": 40}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = transformers.LlamaConfig(**sizes, **heads, max_position_embeddings=64)
    return save(tmp_path_factory.mktemp("llama"), transformers.LlamaForCausalLM(config))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "vocab_size": 40}
    config = transformers.BertConfig(**sizes, num_attention_heads=4, max_position_embeddings=64)
    return save(tmp_path_factory.mktemp("bert"), transformers.BertModel(config))


def captured(folder, path, tokens):
    runnable = open_folder(folder, None, TEXT, 2, tokens)
    done = extract(runnable, path, Sampling())
    assert not done.skipped
    bundle = open_bundle(path)
    assert bundle.source["text_sha256"] == TEXT.source["text_sha256"]
    names = [gemm.name for gemm in bundle.gemms if gemm.phase == "forward"]
    return names, {(gemm.op, gemm.phase) for gemm in bundle.gemms}


EVERY_KIND = {
    (op, phase)
    for op in ("linear", "qk", "pv")
    for phase in ("forward", "grad_input", "grad_weight")
}


def test_the_names_of_a_folder_and_of_shapes_are_listed_without_operands(llama, tmp_path):
    result = CliRunner().invoke(command, ["list", str(llama), "llama-2-7b", "--format", "json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    mine = {row["gemm"]: row for row in rows if row["workload"] == llama.name}
    bundle = tmp_path / "x.safetensors"
    extract(open_folder(llama, None, read_text(None), None, None), bundle, Sampling())
    wanted = {gemm.name: gemm for gemm in open_bundle(bundle).gemms if gemm.phase == "forward"}
    assert mine.keys() == wanted.keys()
    for name, row in mine.items():
        fields = ("op", "layer", "batch", "n", "d", "h")
        assert [row[field] for field in fields] == [
            getattr(wanted[name], field) for field in fields
        ]
    assert sum(row["workload"] == "llama-2-7b" for row in rows) == 32 * 9 + 1
    (first, *_) = model_gemms(str(llama), lambda message: None)
    with pytest.raises(InputError, match="its operands were not kept; use accelsim extract"):
        first.load()


def test_a_model_where_operands_are_needed_is_named_as_one():
    result = CliRunner().invoke(command, ["show", "smollm2-135m"])
    assert "accelsim extract smollm2-135m" in str(result.exception)


def test_a_causal_language_model(llama, tmp_path):
    names, found = captured(llama, tmp_path / "x.safetensors", tokens=6)
    assert len(names) == 2 * (7 + 2) + 1
    assert {"model.layers.1.self_attn.qk", "model.layers.0.mlp.down_proj", "lm_head"} <= set(names)
    assert found == EVERY_KIND


def test_an_encoder(bert, tmp_path):
    names, found = captured(bert, tmp_path / "x.safetensors", tokens=6)
    # The pooler, and the products of the sentences' vectors in the loss.
    assert len(names) == 2 * (6 + 2) + 2
    assert found == EVERY_KIND


def write_gguf(path, kind):
    """Write a Llama of one layer with random weights of a GGUF type; return them, dequantized."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(16)
    writer.add_vocab_size(40)
    letters = [chr(ord("a") + index) for index in range(26)]
    tokens = ["<s>", *letters, "ab", *(f"<{index}>" for index in range(12))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * 27 + [3] * 12)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    sizes = {"attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32)}
    sizes |= {"ffn_gate": (64, 32), "ffn_up": (64, 32), "ffn_down": (32, 64)}
    shapes = {f"blk.0.{name}.weight": shape for name, shape in sizes.items()}
    shapes |= {"token_embd.weight": (40, 32), "output.weight": (40, 32)}
    drawn = np.random.default_rng(0)
    kept = {}
    for name, shape in shapes.items():
        raw = gguf.quants.quantize(drawn.normal(size=shape).astype(np.float32), kind)
        writer.add_tensor(name, raw, raw_dtype=kind)
        kept[name] = torch.tensor(gguf.quants.dequantize(raw, kind).astype(np.float32))
    for name in ("blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"):
        writer.add_tensor(name, np.ones(32, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return kept


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q5_1", "Q4_0", "Q4_1"])
def test_a_gguf_file_of_every_common_type(tmp_path, kind):
    gguf = pytest.importorskip("gguf")
    weights = write_gguf(tmp_path / "x.gguf", gguf.GGMLQuantizationType[kind])
    runnable = open_folder(tmp_path, "x.gguf", Text("letters", "abcdefg" * 20), 2, 6)
    extract(runnable, tmp_path / "x.safetensors", Sampling())
    gemms = {gemm.name: gemm for gemm in open_bundle(tmp_path / "x.safetensors").gemms}
    assert len(gemms) == 3 * (7 + 2 + 1)
    layers = {
        "self_attn.v_proj": "attn_v",
        "mlp.gate_proj": "ffn_gate",
        "mlp.down_proj": "ffn_down",
    }
    for ours, theirs in layers.items():
        b = gemms[f"model.layers.0.{ours}"].load()[1]
        assert torch.equal(b, weights[f"blk.0.{theirs}.weight"])


def test_a_text_that_is_too_short(llama):
    with pytest.raises(InputError, match="words: has 200 tokens; 300 are requested"):
        open_folder(llama, None, TEXT, 1, 300)


def test_folders_that_are_none(tmp_path, llama):
    with pytest.raises(InputError, match="is not a folder; expected one with config"):
        load(tmp_path / "missing")
    with pytest.raises(InputError, match="cannot be loaded"):
        load(tmp_path)
    pytest.importorskip("gguf")
    with pytest.raises(InputError, match="cannot be loaded"):
        load(llama, "missing.gguf")


@pytest.mark.parametrize("share", [0, 1e-4, 0.01, 0.1, 0.5, 0.99])
def test_a_gguf_file_that_is_cut_short(tmp_path, share):
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "x.gguf"
    write_gguf(path, gguf.GGMLQuantizationType.F32)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"x\.gguf: cannot be loaded: ."):
        load(tmp_path, "x.gguf")


def test_pickled_weights_are_not_read(llama, tmp_path):
    for file in llama.iterdir():
        if file.suffix == ".safetensors":
            torch.save(torch.ones(1), tmp_path / "pytorch_model.bin")
        else:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(InputError, match="cannot be loaded"):
        load(tmp_path)


def test_code_in_the_folder_is_not_run(llama, tmp_path):
    for file in llama.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = (tmp_path / "config.json").read_text()
    evil = '"auto_map": {"AutoConfig": "evil.Config"}, "model_type": "evil",'
    config = config.replace('"model_type": "llama",', evil)
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\n")
    with pytest.raises(InputError, match="cannot be loaded"):
        load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_folder_without_a_tokenizer_says_so(llama, tmp_path):
    folder = tmp_path / "bare"
    folder.mkdir()
    for file in ("config.json", "model.safetensors"):
        (folder / file).write_bytes((llama / file).read_bytes())
    with pytest.raises(InputError, match=r"bare: has no tokenizer; .*save_pretrained\('.*bare'\)"):
        load(folder)
