"""How Sphinx builds the documentation: the pages of this folder, and the API from docstrings."""

from importlib.metadata import version as version_of

project = "accelsim"
author = "The accelsim authors"
copyright = author
version = release = version_of("accelsim")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
]
html_theme = "furo"
html_title = f"accelsim {version}"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
autodoc_default_options = {"exclude-members": "model_config"}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
numpydoc_show_class_members = False
default_role = "py:obj"
