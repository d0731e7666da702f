"""A backend with a route of its own on the CPU, and routes that are wrong on purpose."""

import torch

from accelsim.arithmetic.rounding import quantize
from accelsim.measure.timing import Untimed
from accelsim.types import Counts, PerOperand, PreparedOperand
from gemm_backends import Accumulator, GemmBackend, Support


class Ready(PreparedOperand):
    def __init__(self, side, x, quantized):
        super().__init__(side, x.shape)
        self.quantized = quantized


class Int64Route:
    """Rounds and multiplies in int64, in the stages ``quantize`` and ``gemm``."""

    judged = "its only kernel"

    def __init__(self, request):
        self.request = request

    def prepare(self, side, x):
        return Ready(side, x, self._rounded(side, x))

    def _rounded(self, side, x):
        if isinstance(x, Ready):
            return x.quantized
        how = self.request.rounding.of(side)
        return quantize(
            x, how.percentile, how.beta, how.granularity, how.zero_alpha,
            self.request.names.of(side),
        )  # fmt: skip

    def run(self, a, b, timer):
        self.ahead = tuple(s for s, x in (("a", a), ("b", b)) if isinstance(x, Ready))
        with timer.stage("quantize"):
            self.pair = PerOperand(self._rounded("a", a), self._rounded("b", b))
        with timer.stage("gemm"):
            self.product = self.multiply(*(x.values.long() for x in (self.pair.a, self.pair.b)))
        if self.request.output is None:
            return self.product
        with timer.stage("dequantize"):
            scales = self.scales()
            b = scales.b.double()
            return self.divide(self.product, scales.a.double() * (b if b.ndim == 0 else b.mT))

    def multiply(self, a, b):
        return a @ b.mT

    def divide(self, product, scale):
        return (product.double() / scale).to(self.request.output)

    def check(self):
        pass

    def integers(self):
        return self.product

    def scales(self):
        return self.pair.map(lambda x: x.scale)

    def counts(self):
        a, b = self.pair.a.operand, self.pair.b.operand
        macs = a.numel() * b.shape[-2]
        return Counts("int64", macs, macs, prepared=self.ahead, entries_a=a.numel())


class Fused(GemmBackend):
    """Has a route for float32, and refuses other types."""

    name, bits, accumulator = "fused-int64", 8, Accumulator(64, "wrap")
    route = Int64Route

    def matmul(self, a, b):
        return a.long() @ b.long().mT

    def fused(self, request):
        if request.dtype != torch.float32:
            return Support(False, f"takes float32, not {request.dtype}")
        return self.route(request)


class LastRun(Int64Route):
    """Returns the integers of the run before."""

    last = None

    def multiply(self, a, b):
        before, self.last = self.last, a @ b.mT
        return self.last if before is None else before


class FirstOperand(Int64Route):
    """Plans for the first operands, and drops what does not fit the plan in silence."""

    limit = None

    def multiply(self, a, b):
        if self.limit is None:
            self.limit = a.amax(-2), a.amin(-2)
        return torch.minimum(torch.maximum(a, self.limit[1]), self.limit[0]) @ b.mT


class Stale(Int64Route):
    """Keeps the first operand that it saw on either side."""

    def multiply(self, a, b):
        self.first = getattr(self, "first", a)
        return self.first @ b.mT


class Shortened(Int64Route):
    """Divides in bfloat16 before it gives float32."""

    def divide(self, product, scale):
        return super().divide(product, scale).bfloat16().to(self.request.output)


class Lunch(Int64Route):
    """Times what no record knows."""

    def run(self, a, b, timer):
        with timer.stage("lunch"):
            return super().run(a, b, Untimed())


class FusedLunch(Fused):
    name, route = "fused-lunch", Lunch


class FusedLastRun(Fused):
    name, route = "fused-last-run", LastRun


class FusedFirstOperand(Fused):
    name, route = "fused-first-operand", FirstOperand


class FusedStale(Fused):
    name, route = "fused-stale", Stale


class FusedShortened(Fused):
    name, route = "fused-shortened", Shortened
