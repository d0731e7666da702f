"""Run a config: workload, quantize, unpack, backend, pack, verdict, record."""

from accelsim.runner.loop import operand_hashes, run
from accelsim.runner.makers import Here, Isolated, Limits, Maker
from accelsim.runner.progress import Progress

__all__ = ["Here", "Isolated", "Limits", "Maker", "Progress", "operand_hashes", "run"]
