"""Tables, pages and figures of records."""

from accelsim.report.summary import summary
from accelsim.report.tables import render

__all__ = ["render", "summary"]
