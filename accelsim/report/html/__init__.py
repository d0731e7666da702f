"""One HTML page that says what runs found, with nothing to load from anywhere."""

from accelsim.report.html.page import render_page

__all__ = ["render_page"]
