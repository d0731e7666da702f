"""Run a config: workload, quantize, unpack, backend, pack, verdict, record."""

from accelsim.runner.isolation import Limits
from accelsim.runner.loop import Progress, run

__all__ = ["Limits", "Progress", "run"]
