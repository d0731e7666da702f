"""Time decoder layers of a large model's shape: bfloat16 as it is, and with exact integer GEMMs.

    python examples/llama_layers.py

runs two layers of Llama-2-7B's shape (random weights, 2048 tokens) eagerly on a GPU, or on the CPU
if there is none, once in bfloat16 and once inside ``accelsim.integer_gemms``, with the linear
layers on integers. Eight entries of every norm's weight are 30 times as large, so that activations
have heavy channels as those of real models have. First every integer and every float of the
products is compared with an independent oracle's.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from time import perf_counter

import torch
from transformers import LlamaConfig, LlamaModel

import accelsim

HEAVY, FACTOR = 8, 30


def main() -> None:
    """Build the layers, check them, time them in turns, and print a table."""
    options = parse()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = build(options, device)
    ids = torch.randint(0, model.config.vocab_size, (1, options.tokens), device=device)
    with torch.no_grad():
        with accelsim.integer_gemms(model, beta=options.beta, ops=("linear",), check=True) as mode:
            model(ids)
        checked = mode.tally.summary()
        times: dict[str, list[float]] = {"bfloat16": [], "integer_gemms": []}
        for _ in range(options.rounds):
            times["bfloat16"] += timed(lambda: model(ids), device, options.repeats)
            with accelsim.integer_gemms(model, beta=options.beta, ops=("linear",)):
                times["integer_gemms"] += timed(lambda: model(ids), device, options.repeats)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{where}, torch {torch.__version__}, {options.layers} layers, {options.tokens} tokens")
    print(f"{checked['checked']} GEMMs checked, {checked['inexact']} inexact, ", end="")
    print(f"unpack ratio {checked['ratio'] or 1:.3f}")
    for name, values in times.items():
        print(f"{name:14} median {statistics.median(values):8.2f} ms, least {min(values):8.2f} ms")


def parse() -> argparse.Namespace:
    """Return the options; by default the shape is that of Llama-2-7B."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--beta", type=float, default=31)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--intermediate", type=int, default=11008)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3, help="turns of both")
    parser.add_argument("--repeats", type=int, default=20, help="timed runs in a turn")
    return parser.parse_args()


def build(options: argparse.Namespace, device: torch.device) -> LlamaModel:
    """Return layers with random weights in bfloat16."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=options.hidden,
        intermediate_size=options.intermediate,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=options.heads,
        vocab_size=1000,
    )
    model: LlamaModel = LlamaModel(config).to(device, torch.bfloat16).eval()
    for name, weight in model.named_parameters():
        if "norm" in name:
            weight.data[torch.randperm(options.hidden)[:HEAVY].to(device)] *= FACTOR
    return model


def timed(run: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    """Return the wall-clock times of repeats in ms, each from an idle device to an idle device."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    times = []
    for number in range(3 + repeats):
        wait()
        start = perf_counter()
        run()
        wait()
        if number >= 3:
            times.append((perf_counter() - start) * 1e3)
    return times


if __name__ == "__main__":
    main()
