"""Time decoder layers of a large model's shape: bfloat16, and converted to exact integers.

    python examples/exact_layers.py --tokens 8192 --sequence 2048

builds two layers of Llama-2-7B's shape (random weights; 8 entries of every norm's weight are 30
times as large, so that activations have heavy channels as those of real models have), converts a
copy with `accelsim.quantize_`, one scale for each token and output channel, compiles both, records
each as a CUDA graph, and times them in turns in one process. torchao's fp8 per row stands beside
them where it is installed. First every product of one pass of the compiled model is compared with
an independent oracle's, bit for bit, and the graph's result with that pass's. Without a GPU the
layers run eagerly on the CPU.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel

import accelsim
from accelsim.integer_mode.converted import products
from accelsim.integer_mode.converted.config import parsed
from accelsim.routes import expected, wrong_floats
from accelsim.types import PerOperand, Request

HEAVY, FACTOR = 8, 30


def main() -> None:
    """Build, convert, check, record and time the layers, and print one line of JSON each."""
    options = parse()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build(options, device)
    ids = torch.randint(0, 1000, (options.tokens // options.sequence, options.sequence))
    embedded = model.embed_tokens(ids.to(device))
    runs: dict[str, Callable[[], Tensor]] = {"bf16": recorded(model, embedded)}
    facts: dict[str, Any] = {"tokens": options.tokens, "sequence": options.sequence}
    fp8 = converted_by_torchao(model) if device.type == "cuda" and not options.no_fp8 else None
    if fp8:
        runs["torchao fp8 per row"] = recorded(fp8, embedded)
    for activations, weights in options.betas:
        name = f"exact {activations:g}/{weights:g}"
        twin = copy.deepcopy(model)
        config = accelsim.IntegerConfig(
            {"weights": weights, "default": activations}, granularity="row"
        )
        floats = {name: x.weight for name, x in twin.named_modules() if isinstance(x, nn.Linear)}
        accelsim.quantize_(twin, config)
        names = {id(twin.get_submodule(n).weight): w for n, w in floats.items()}
        facts[name] = check(twin, embedded, names)
        del floats, names
        kept = [*twin.layers.parameters(), *twin.layers.buffers()]
        facts[name] |= {
            "bytes": sum(x.nbytes for x in kept) / sum(x.nbytes for x in model.layers.parameters())
        }
        runs[name] = recorded(twin, embedded)
        accelsim.check(twin)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            times[name] += timed(run, options.repeats, device)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        facts.setdefault(name, {})
        facts[name] |= {"ms": round(median, 4), "bf16 over it": round(medians["bf16"] / median, 3)}
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(json.dumps({"device": where, "torch": torch.__version__, **facts}))


def parse() -> argparse.Namespace:
    """Return the options; by default the shape is that of Llama-2-7B."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--betas", type=pair, nargs="+", default=[(31, 127), (63, 127)])
    parser.add_argument("--no-fp8", action="store_true", help="leave torchao out")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--sequence", type=int, default=2048, help="tokens of one sequence")
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--intermediate", type=int, default=11008)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--kv-heads", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5, help="turns of all")
    parser.add_argument("--repeats", type=int, default=10, help="timed runs in a turn")
    return parser.parse_args()


def pair(text: str) -> tuple[float, float]:
    """Return the β of activations and of weights, such as 31/127."""
    activations, weights = text.split("/")
    return float(activations), float(weights)


def build(options: argparse.Namespace, device: torch.device) -> LlamaModel:
    """Return layers with random weights in bfloat16."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=options.hidden,
        intermediate_size=options.intermediate,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=options.kv_heads,
        vocab_size=1000,
        use_cache=False,
    )
    model: LlamaModel = LlamaModel(config).to(device, torch.bfloat16).eval().requires_grad_(False)
    for name, weight in model.named_parameters():
        if "norm" in name:
            weight.data[torch.randperm(options.hidden)[:HEAVY].to(device)] *= FACTOR
    return model


def converted_by_torchao(model: LlamaModel) -> LlamaModel | None:
    """Return a copy in torchao's fp8 with scales by row, or None where torchao is missing."""
    try:
        from torchao.quantization import (
            Float8DynamicActivationFloat8WeightConfig,
            PerRow,
            quantize_,
        )
    except ImportError:
        return None
    twin = copy.deepcopy(model)
    quantize_(twin, Float8DynamicActivationFloat8WeightConfig(granularity=PerRow()))
    return twin


def check(twin: LlamaModel, embedded: Tensor, floats: dict[int, Tensor]) -> dict[str, int]:
    """Compare every product of one pass of the compiled model with the oracle's."""
    seen = {"products": 0, "inexact": 0}
    forward, forward_joined = products.forward, products.forward_joined

    def judge(x: Tensor, result: Tensor, weight: Any, settings: str) -> None:
        config = parsed(settings)
        request = Request(
            (1, None, x.shape[-1], weight.h),
            x.device,
            x.dtype,
            PerOperand(config.rounding("activations"), config.rounding("weights")),
            config.systems,
        )
        right = expected(request, x.reshape(-1, x.shape[-1]), floats[id(weight.digits)])
        seen["products"] += 1
        seen["inexact"] += bool(wrong_floats(result.reshape(-1, weight.h), right))

    def judged(x: Tensor, weight: Any, settings: str) -> Tensor:
        result = forward(x, weight, settings)
        judge(x, result, weight, settings)
        return result

    def judged_joined(x: Tensor, weights: Any, settings: str) -> Tensor:
        result = forward_joined(x, weights, settings)
        parts = result.split([weight.h for weight in weights], dim=-1)
        for weight, part in zip(weights, parts, strict=True):
            judge(x, part, weight, settings)
        return result

    products.forward, products.forward_joined = judged, judged_joined
    try:
        with torch.no_grad():
            compiled(twin)(inputs_embeds=embedded)
    finally:
        products.forward, products.forward_joined = forward, forward_joined
    return seen


def compiled(model: LlamaModel) -> Callable[..., Any]:
    """Return a compiled model on a GPU, and the model itself on the CPU."""
    if model.device.type == "cpu":
        return model
    # q, k and v, and gate and up, round their operand once.
    options = {"post_grad_custom_pre_pass": accelsim.JoinProducts()}
    found: Callable[..., Any] = torch.compile(model, fullgraph=True, options=options)
    return found


def recorded(model: LlamaModel, embedded: Tensor) -> Callable[[], Tensor]:
    """Return what runs a model: on a GPU, what replays it as a CUDA graph."""
    forward = compiled(model)

    def hidden() -> Tensor:
        with torch.no_grad():
            result: Tensor = forward(inputs_embeds=embedded).last_hidden_state
        return result

    if embedded.device.type == "cpu":
        return hidden
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            right = hidden().clone()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        result = hidden()
    graph.replay()
    torch.cuda.synchronize()
    if not torch.equal(result, right):
        raise SystemExit("the graph's result is not that of the run before it")

    def run(_kept: object = (model, forward)) -> Tensor:
        # A graph knows addresses alone: whoever replays it keeps the model.
        graph.replay()
        return result

    return run


def timed(run: Callable[[], Tensor], repeats: int, device: torch.device) -> list[float]:
    """Return the times of repeats in ms, each from an idle device to an idle device."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    times = []
    for number in range(1 + repeats):
        wait()
        start = perf_counter()
        run()
        wait()
        if number:
            times.append((perf_counter() - start) * 1e3)
    return times


if __name__ == "__main__":
    main()
