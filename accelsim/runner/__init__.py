"""Run a config: workload, quantize, unpack, backend, pack, verdict, record."""

from accelsim.runner.isolation import Limits
from accelsim.runner.loop import Progress, operand_hashes, run

__all__ = ["Limits", "Progress", "operand_hashes", "run"]
