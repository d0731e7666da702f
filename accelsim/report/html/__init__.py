"""One HTML page that says what runs found, with nothing to load from anywhere."""

from accelsim.report.html.experiment import render_experiments
from accelsim.report.html.page import render_page

__all__ = ["render_experiments", "render_page"]
