"""Sphinx configuration: MyST pages, docstrings in NumPy style, furo."""

from fairpress import __version__

project = "fairpress"
author = "The fairpress authors"
copyright = "The fairpress authors, Apache-2.0"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "fairpress"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
napoleon_google_docstring = False
napoleon_use_ivar = True
exclude_patterns = ["_build"]
