"""One HTML page with the results of runs, which needs no network."""

from accelsim.report.html.experiment import render_experiments
from accelsim.report.html.page import render_page

__all__ = ["render_experiments", "render_page"]
