"""From a model of one's own, a catalog name or a config entry to GEMMs."""

import shlex
import textwrap

import pytest
import torch
from click.testing import CliRunner
from small_models import ids, language, loss

from accelsim.cli.extract import command
from accelsim.config import load_config
from accelsim.config.shipped import find_config
from accelsim.errors import InputError
from accelsim.kernels.cache import CACHE_VARIABLE
from workloads import EntryError, open_bundle
from workloads.capture import Sampling
from workloads.models.extraction import check_space, estimate, extract
from workloads.models.opening import open_model
from workloads.models.runnable import Runnable
from workloads.models.source import ModelSource


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A file with a model, its input and its loss; it is the current folder."""
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
        import torch
        from torch import nn

        def model():
            return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))

        def batch():
            return torch.ones(3, 4)

        def loss(output):
            return output.square().mean()

        words = "no model"
        values = {"input": torch.ones(3, 4)}
        """)
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(command, list(arguments))


MINE = ("--model", "mine.py:model", "--input", "mine.py:batch")


def small():
    model = language()
    return Runnable(model, lambda: model(ids()), {}, lambda out: loss(out, ids()))


def test_the_estimate_is_what_the_bundle_takes(tmp_path):
    sampling = Sampling(rows=3)
    expected = estimate(small(), sampling)
    path = tmp_path / "x.safetensors"
    done = extract(small(), path, sampling)
    operands = [x for gemm in open_bundle(path).gemms for x in gemm.load()]
    assert expected.gemms == len(done.gemms) == 51
    assert expected.bytes == sum(x.nbytes for x in operands)


def test_a_run_leaves_no_gradient_and_repeats_itself(tmp_path):
    runnable = small()
    paths = [tmp_path / name for name in ("one.safetensors", "two.safetensors")]
    for path in paths:
        extract(runnable, path, Sampling())
    assert all(weight.grad is None for weight in runnable.model.parameters())
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_full_disk(tmp_path):
    with pytest.raises(InputError, match="GB are free; capture less"):
        check_space(tmp_path / "x", 10**18)
    with pytest.raises(InputError, match="there is no folder"):
        check_space(tmp_path / "no" / "x", 1)


def test_a_model_of_ones_own(mine):
    both = ("--phase", "forward", "--phase", "backward", "--loss", "mine.py:loss")
    done = run(*MINE, *both, "-o", "x.safetensors")
    assert done.exit_code == 0, done.output
    assert "5 GEMMs" in done.output
    bundle = open_bundle(mine / "x.safetensors")
    assert [gemm.name for gemm in bundle.gemms] == ["0", "2", "2.dx", "2.dw", "0.dw"]
    assert bundle.source["model"] == "mine.py:model"


def test_the_next_commands_take_the_bundle(mine):
    name = "it's mine.safetensors"
    done = run(*MINE, "-o", name)
    commands = [
        shlex.split(line.removeprefix("Next:").strip().split("  ")[0])
        for line in done.stderr.splitlines()
        if "accelsim workloads" in line or "accelsim run" in line
    ]
    stats, started = commands
    assert stats == ["accelsim", "workloads", "stats", name]
    config, _, change = started[2:5]
    gemms = load_config(find_config(config), [change]).gemms()
    assert [gemm.name for gemm in gemms] == ["0", "2"]
    assert started[5:] == ["-o", "runs/it's mine"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give one of a NAME of the catalog, --model, --hf and --onnx"),
        (("gpt-small", *MINE), "give one of"),
        (("--model", "mine.py:model"), "--model needs --input"),
        (("gpt-small", "--input", "mine.py:batch"), "--input goes with --model"),
        ((*MINE, "--tokens", "3"), "--tokens goes with NAME or --hf"),
        (("gpt-small", "--gguf", "x"), "--gguf goes with --hf"),
        (("--model", "mine", "--input", "mine.py:batch"), "expected module:name"),
        (
            ("--model", "no.py:model", "--input", "mine.py:batch"),
            "no.py:model: there is no",
        ),
        (("--model", "mine.py:modl", "--input", "mine.py:batch"), "did you mean 'model'"),
        (("--model", "mine.py:words", "--input", "mine.py:batch"), "str cannot be called"),
        (
            ("--model", "mine.py:batch", "--input", "mine.py:batch"),
            "gives Tensor; expected an nn.Mod",
        ),
        ((*MINE, "--phase", "backward"), "has no loss; give a function of the output with --loss"),
        ((*MINE, "--gemm", "*.q"), "no GEMM matches \\*.q"),
        (("llama-2-7b",), "there are shapes alone"),
        (("--hf", "nowhere"), "nowhere: is not a folder"),
    ],
)
def test_wrong_calls(mine, arguments, message):
    if "--hf" in arguments:
        pytest.importorskip("transformers")
    done = run(*arguments, "-o", "x.safetensors")
    assert isinstance(done.exception, InputError)
    with pytest.raises(InputError, match=message):
        raise done.exception
    assert not (mine / "x.safetensors").exists()


def test_a_model_of_the_catalog_that_is_trained_here():
    runnable = open_model("gpt-small", batch=2, tokens=16)
    assert runnable.source["license"] == "Apache-2.0"
    assert runnable.source["text_sha256"].startswith("71f2ff5d")
    # ln 96 = 4.6 is what a model that has learnt nothing gets.
    assert runnable.forward().item() < 3.9
    assert estimate(runnable, Sampling(phases=("forward",))).gemms == 2 * 6 + 1


def test_an_entry_of_a_config(cache, tmp_path):
    entry = {
        "model": "gpt-small",
        "tokens": 16,
        "batch": 1,
        "gemms": "*.qk.d?",
        "phases": "grad_input",
    }
    gemms = ModelSource(**entry).open(tmp_path)
    assert [gemm.id for gemm in gemms] == [
        "gpt-small/blocks.1.qk.dq",
        "gpt-small/blocks.0.qk.dq",
    ]
    assert (gemms[0].batch, gemms[0].n, gemms[0].d, gemms[0].h) == (4, 16, 16, 16)
    (kept,) = cache.rglob("*.safetensors")
    before = kept.stat().st_mtime_ns
    again = ModelSource(**entry).open(tmp_path)
    assert kept.stat().st_mtime_ns == before
    assert all(torch.equal(a, b) for a, b in zip(gemms[0].load(), again[0].load(), strict=True))
    ModelSource(**entry | {"tokens": 8}).open(tmp_path)
    assert len(list(cache.rglob("*.safetensors"))) == 2


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"model": "gpt-small", "profile": "x"}, "real and follow no profile"),
        ({"model": "llama-2-7b", "gemms": "*.qq"}, "llama-2-7b: no GEMM matches .*; it has: "),
    ],
)
def test_wrong_entries(cache, tmp_path, entry, message):
    with pytest.raises(EntryError, match=message):
        ModelSource(**entry).open(tmp_path)
