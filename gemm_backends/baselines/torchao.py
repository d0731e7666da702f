"""torchao's quantized linear layers, compiled as their documentation advises."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from accelsim.plugins.extras import lacks
from gemm_backends.baselines.base import Baseline, needs_gpu
from gemm_backends.types import Availability


class _Torchao(Baseline):
    """A linear layer that `torchao.quantization.quantize_` converted, in bfloat16.

    B becomes the layer's weight, ahead of the time; A is rounded in the product, as for the
    activations of a model. The first call compiles with ``max-autotune``, which takes a minute.
    """

    def availability(self, device: str = "cpu") -> Availability:
        """Return whether this can be timed on a torch device."""
        if reason := lacks("torchao", "torchao"):
            return Availability(False, reason, device=device)
        return needs_gpu("compiling with max-autotune", (8, 0), device)

    @abstractmethod
    def config(self) -> Any:
        """Return what `quantize_` takes."""

    def prepare(self, operand: Tensor) -> Tensor:
        """Convert an operand to bfloat16."""
        return operand.to(torch.bfloat16)

    def matmul(self, a: Tensor, b: Tensor) -> Tensor:
        """Multiply two operands; see `Baseline.matmul`."""
        return self.bind(a, b)()

    def bind(self, a: Tensor, b: Tensor) -> Callable[[], Tensor]:
        """Make a layer of B, compile it for operands like A, and return its product with A."""
        from torchao.quantization import quantize_

        if a.ndim != 2:
            calls = [self.bind(x, y) for x, y in zip(a, b, strict=True)]
            return lambda: torch.stack([call() for call in calls])
        h, d = b.shape
        x = self.prepare(a)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            layer = nn.Linear(d, h, bias=False, dtype=torch.bfloat16, device=b.device)
            layer.weight = nn.Parameter(self.prepare(b), requires_grad=False)
            quantize_(layer, self.config())
            compiled = torch.compile(layer, mode="max-autotune")
            for _ in range(3):
                compiled(x)

        def product() -> Tensor:
            with torch.no_grad():
                result: Tensor = compiled(x)
                return result

        return product


class TorchaoInt8(_Torchao):
    """Symmetric int8: activations rounded per token as they come, weights per output channel."""

    name = "torchao-int8"

    def config(self) -> Any:
        """Return what `quantize_` takes."""
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig

        return Int8DynamicActivationInt8WeightConfig()


class TorchaoFp8(_Torchao):
    """e4m3 with one scale per row: activations as they come, weights ahead."""

    name = "torchao-fp8"

    def availability(self, device: str = "cpu") -> Availability:
        """Return whether this can be timed on a torch device."""
        there = super().availability(device)
        return needs_gpu("fp8 with a scale per row", (9, 0), device) if there.available else there

    def config(self) -> Any:
        """Return what `quantize_` takes."""
        from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow

        return Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())
