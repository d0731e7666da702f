"""What a user would run instead, on the same operands: each as a function to time."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from gemm_backends.baselines import load_baseline

Multiply = Callable[[], Tensor]


def rivals(a: Tensor, b: Tensor, with_torchao: bool) -> dict[str, Multiply]:
    """Return the ways to multiply float operands, operands converted ahead.

    Parameters
    ----------
    a, b : Tensor
        ``[n, d]`` and ``[h, d]`` on a CUDA device.
    with_torchao : bool
        Whether to add torchao's int8 dynamic quantization, compiled with max-autotune, which takes
        a minute; only where torchao is installed.

    Returns
    -------
    dict
        Name to function: ``bf16`` (cuBLAS), ``fp8`` where the GPU has it, ``torchao-int8``.
    """
    found: dict[str, Multiply] = {}
    for name in ("bf16", "fp8"):
        baseline = load_baseline(name)
        if baseline.availability(str(a.device)).available:
            x, y = baseline.prepare(a), baseline.prepare(b)
            found[name] = lambda x=x, y=y, baseline=baseline: baseline.matmul(x, y)  # type: ignore[misc]
    if with_torchao and importlib.util.find_spec("torchao"):
        found["torchao-int8"] = _torchao(a, b)
    return found


def _torchao(a: Tensor, b: Tensor) -> Multiply:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    h, d = b.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = torch.nn.Linear(d, h, bias=False, dtype=torch.bfloat16, device=b.device)
        layer.weight = torch.nn.Parameter(b.to(torch.bfloat16), requires_grad=False)
        quantize_(layer, Int8DynamicActivationInt8WeightConfig())
        compiled = torch.compile(layer, mode="max-autotune")
        x = a.to(torch.bfloat16)
        with torch.no_grad():
            for _ in range(3):
                compiled(x)

    def multiply() -> Tensor:
        with torch.no_grad():
            result: Tensor = compiled(x)
            return result

    return multiply
