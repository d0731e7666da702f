"""Time linear layers alone: bfloat16, and converted to exact integers.

    python examples/exact_linear.py --shapes 8192x4096x4096 16x4096x11008

times rows x inputs x outputs: a layer of random bfloat16 weights, and its copy converted by
`accelsim.quantize_` with one scale for each token and output channel. On a GPU both are recorded as
CUDA graphs; they are timed in turns. The input has 8 columns that are 30 times as large as the
others, as activations have. Up to 64 rows ten layers run one after the other, so that no cache
holds their weights. First every entry of the converted layer's result is compared with an
independent oracle's.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from time import perf_counter

import torch
from torch import Tensor, nn

import accelsim
from accelsim.routes import expected, wrong_floats
from accelsim.types import PerOperand, Request

HEAVY, FACTOR = 8, 30
FEW_ROWS, LAYERS = 64, 10
DEFAULT = (
    "8192x4096x4096", "8192x4096x11008", "8192x11008x4096", "2048x4096x4096", "2048x4096x11008",
    "64x4096x4096", "16x4096x4096", "16x4096x11008", "16x11008x4096", "1x4096x4096",
)  # fmt: skip


def main() -> None:
    """Check and time every shape, and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shapes", nargs="+", default=DEFAULT, metavar="ROWSxINPUTSxOUTPUTS")
    parser.add_argument("--activations", type=float, default=63, help="beta of the activations")
    parser.add_argument("--weights", type=float, default=127, help="beta of the weights")
    parser.add_argument("--repeats", type=int, default=15, help="timed runs of each")
    options = parser.parse_args()
    beta = {"weights": options.weights, "default": options.activations}
    config = accelsim.IntegerConfig(beta, granularity="row")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{where}, torch {torch.__version__}, beta {options.activations:g}/{options.weights:g}")
    print("rows x inputs -> outputs       bf16 ms  exact ms  bf16 over exact  inexact entries")
    for text in options.shapes:
        rows, inputs, outputs = (int(part) for part in text.split("x"))
        medians, wrong = time_shape((rows, inputs, outputs), device, config, options.repeats)
        ratio = medians["bf16"] / medians["exact"]
        print(
            f"{rows:5} x {inputs:5} -> {outputs:5}        {medians['bf16']:8.4f}"
            f"  {medians['exact']:8.4f}  {ratio:15.3f}  {wrong}",
            flush=True,
        )


@torch.no_grad()
def time_shape(
    shape: tuple[int, int, int], device: torch.device, config: accelsim.IntegerConfig, repeats: int
) -> tuple[dict[str, float], int]:
    """Return the median time of a layer in ms, and how many entries were not the oracle's."""
    torch.manual_seed(0)
    (rows, inputs, outputs), dtype = shape, torch.bfloat16
    x = torch.randn(rows, inputs, device=device)
    x[:, torch.randperm(inputs, device=device)[:HEAVY]] *= FACTOR
    x = x.to(dtype)
    count = LAYERS if rows <= FEW_ROWS else 1
    floats = [
        nn.Linear(inputs, outputs, bias=False, device=device, dtype=dtype) for _ in range(count)
    ]
    exact = [nn.Linear(inputs, outputs, bias=False, device=device, dtype=dtype) for _ in floats]
    for layer, original in zip(exact, floats, strict=True):
        layer.weight.copy_(original.weight)
    converted = nn.ModuleList(exact)
    accelsim.quantize_(converted, config)
    runs = {"bf16": recorded(floats, x), "exact": recorded(list(converted), x)}
    request = Request(
        (1, rows, inputs, outputs),
        device,
        dtype,
        PerOperand(config.rounding("activations"), config.rounding("weights")),
        config.systems,
    )
    runs["exact"]()
    wrong = wrong_floats(converted[0](x), expected(request, x, floats[0].weight))
    accelsim.check(converted)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(elapsed(run, device) / count)
    return {name: statistics.median(values) for name, values in times.items()}, wrong


def recorded(layers: list[nn.Module], x: Tensor) -> Callable[[], object]:
    """Return what runs the layers, each on `x`: on a GPU, what replays them as one CUDA graph."""

    def run() -> list[Tensor]:
        return [layer(x) for layer in layers]

    if x.device.type == "cpu":
        return torch.no_grad()(run)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            right = run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        results = run()
    graph.replay()
    torch.cuda.synchronize()
    if not all(map(torch.equal, results, right)):
        raise SystemExit("the graph's results are not those of the run before it")
    return graph.replay


def elapsed(run: Callable[[], object], device: torch.device, runs: int = 5) -> float:
    """Return the time of a run in ms, as a GPU measures several in a row."""
    if device.type == "cpu":
        began = perf_counter()
        run()
        return (perf_counter() - began) * 1e3
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(runs):
        run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / runs


if __name__ == "__main__":
    main()
