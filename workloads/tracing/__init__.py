"""See every GEMM that a PyTorch model runs: its operands, and where in the model it belongs."""

from workloads.tracing.multiplication import GemmOperands, Multiplication, recognize
from workloads.tracing.placing import GemmCall
from workloads.tracing.sites import Site, place, place_of_name
from workloads.tracing.skipped import Skipped, product_macs
from workloads.tracing.tracer import Tracer

__all__ = [
    "GemmCall",
    "GemmOperands",
    "Multiplication",
    "Site",
    "Skipped",
    "Tracer",
    "place",
    "place_of_name",
    "product_macs",
    "recognize",
]
