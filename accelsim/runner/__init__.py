"""Run a config: workload, quantize, unpack, backend, pack, verdict, record."""

from accelsim.runner.loop import Progress, run

__all__ = ["Progress", "run"]
