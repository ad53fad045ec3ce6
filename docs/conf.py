"""How Sphinx builds the documentation: offline, from the packages that the ``docs`` extra installs."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as version_of
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

project = "leadloop"
author = "the leadloop contributors"
project_copyright = author
version = release = version_of("leadloop")

# reference_pages writes reference/generated/ and tutorial/notebooks/ before Sphinx reads its sources.
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "reference_pages"]
exclude_patterns = ["_build", "_ext", "reference/generated"]  # included by the pages beside it
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
# Of a type whose name two packages share: the link leads to one of the two.
suppress_warnings = ["ref.python"]

# tests/test_notebooks.py executes the notebooks; here they take over two minutes, so it is on request only:
# LEADLOOP_DOCS_NOTEBOOKS=force make docs
nb_execution_mode = os.environ.get("LEADLOOP_DOCS_NOTEBOOKS", "off")
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False  # a type such as np.bool_ would be read as a reference

html_theme = "pydata_sphinx_theme"
html_title = "leadloop"
html_context = {"default_mode": "auto"}
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "leadloop"},
    "icon_links": [],
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navigation_with_keys": True,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars: dict[str, list[str]] = {"index": []}
