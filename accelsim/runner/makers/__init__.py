"""Makers of records: this process, separate processes, or a Dask cluster."""

from accelsim.runner.makers.here import Here
from accelsim.runner.makers.isolated import Isolated, Limits
from accelsim.runner.makers.maker import Maker

__all__ = ["Here", "Isolated", "Limits", "Maker"]
