"""See every GEMM that a PyTorch model runs: its operands, and where in the model it belongs."""

from workloads.tracing.multiplication import Multiplication, Product, recognize
from workloads.tracing.sites import Site
from workloads.tracing.tracer import GemmCall, Tracer

__all__ = ["GemmCall", "Multiplication", "Product", "Site", "Tracer", "recognize"]
