"""All GEMMs of a Transformer, forward and backward, from its dimensions alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from workloads.capture import Sampling
from workloads.gemm import Gemm
from workloads.models.catalog import Shapes
from workloads.models.drawn import drawn_gemm
from workloads.models.layer import Layer
from workloads.profile import Profile
from workloads.tracing.sites import GRADIENTS

_SHORT = {"grad_input": "a", "grad_weight": "b"}


def shape_gemms(
    workload: str,
    shapes: Shapes,
    profile: Profile,
    batch: int,
    tokens: int,
    sampling: Sampling,
    seed: int = 0,
) -> list[Gemm]:
    """Return all GEMMs of a model, with synthetic operands that are drawn when they are loaded.

    Parameters
    ----------
    workload : str
        The name of the model.
    shapes : Shapes
        Its dimensions.
    profile : Profile
        The heavy hitters of the operands.
    batch, tokens : int
        How many sequences of how many tokens it would run on.
    sampling : Sampling
        Which GEMMs, and how much of each.
    seed : int
        Decides the operands, together with the GEMM's name.
    """
    return layer_gemms(workload, layers(shapes, batch, tokens), profile, sampling, seed)


def layer_gemms(
    workload: str,
    forward: Iterable[Layer],
    profile: Profile,
    sampling: Sampling,
    seed: int = 0,
) -> list[Gemm]:
    """Return the GEMMs of layers, forward and backward, with synthetic operands.

    Parameters
    ----------
    workload : str
        The name of the model.
    forward : iterable of Layer
        Its products.
    profile : Profile
        The heavy hitters of the operands.
    sampling : Sampling
        Which GEMMs, and how much of each.
    seed : int
        Decides the operands, together with the GEMM's name.
    """
    gemms = []
    for layer in forward:
        for phase in sampling.phases:
            gemm = _gemm(workload, layer, phase, profile, sampling, seed)
            if sampling.wants(gemm.name, phase):
                gemms.append(gemm)
    return gemms


def layers(shapes: Shapes, batch: int, tokens: int) -> Iterator[Layer]:
    """Yield the products of a forward pass, in order."""
    rows = batch * tokens
    if shapes.patches is not None:
        count, size = shapes.patches
        yield Layer("patches", "linear", 1, batch * count, size, shapes.width)
    for index in range(shapes.layers):
        yield from _attention(f"layers.{index}.attention", shapes, batch, tokens)
        yield from _feed_forward(f"layers.{index}", shapes, rows)
    for index in range(shapes.decoder_layers):
        yield from _attention(f"decoder.{index}.attention", shapes, batch, tokens)
        yield from _attention(f"decoder.{index}.cross_attention", shapes, batch, tokens)
        yield from _feed_forward(f"decoder.{index}", shapes, rows)
    if shapes.head_dense:
        yield Layer("head.dense", "linear", 1, rows, shapes.width, shapes.width)
    yield Layer("head", "linear", 1, batch if shapes.pooled else rows, shapes.width, shapes.outputs)


def _attention(name: str, shapes: Shapes, batch: int, tokens: int) -> Iterator[Layer]:
    rows, width, size = batch * tokens, shapes.width, shapes.width // shapes.heads
    keys = size * (shapes.kv_heads or shapes.heads)
    yield Layer(f"{name}.q", "linear", 1, rows, width, width)
    yield Layer(f"{name}.k", "linear", 1, rows, width, keys)
    yield Layer(f"{name}.v", "linear", 1, rows, width, keys)
    yield Layer(f"{name}.qk", "qk", batch * shapes.heads, tokens, size, tokens)
    yield Layer(f"{name}.pv", "pv", batch * shapes.heads, tokens, tokens, size)
    yield Layer(f"{name}.o", "linear", 1, rows, width, width)


def _feed_forward(name: str, shapes: Shapes, rows: int) -> Iterator[Layer]:
    for part in ("gate", "up") if shapes.gated else ("up",):
        yield Layer(f"{name}.{part}", "linear", 1, rows, shapes.width, shapes.mlp)
    yield Layer(f"{name}.down", "linear", 1, rows, shapes.mlp, shapes.width)


def _gemm(
    workload: str, layer: Layer, phase: str, profile: Profile, sampling: Sampling, seed: int
) -> Gemm:
    name, op, batch, n, d, h = layer
    if phase != "forward":
        name = f"{name}.{GRADIENTS[op, _SHORT[phase]]}"
        n, d, h = (n, h, d) if phase == "grad_input" else (h, n, d)
    if sampling.rows is not None:
        n, h = min(n, sampling.rows), min(h, sampling.rows)
    if sampling.heads is not None:
        batch = min(batch, sampling.heads)
    lead = None if op == "linear" else batch
    return drawn_gemm(workload, name, op, layer.name, phase, lead, (n, d, h), profile, seed)
