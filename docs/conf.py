"""Sphinx configuration of the site, which ``make docs`` builds into ``build/docs`` without a network.

The source folder is the whole project, so a link between README, guides and notebooks works on the site and on the code
host. For Sphinx a broken link is an error.
"""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "LLM streaming"
release = metadata.version("llm-streaming")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "docstrings"]
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "docs/colab.ipynb", "docs/api/*.rst", "notebooks/*.ipynb"]
exclude_patterns = [".*", "build", "**/.ipynb_checkpoints"]

# The site shows the committed outputs of the notebooks; `make course` checks that the notebooks still produce them.
nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show a solution"  # no other cells are folded
nb_code_prompt_hide = "Hide the solution"
nb_custom_formats = {".ipynb": ("alt_text.read_notebook", {}, False)}
nb_ipywidgets_js = {}  # no widget is committed, and the scripts of widgets would come from another host

myst_heading_anchors = 4
myst_enable_extensions = ["html_image"]  # README's picture
suppress_warnings = ["mystnb.unknown_mime_type"]  # programs read the recorded results; each has a text too

autodoc_default_options = {"exclude-members": "model_config"}  # pydantic's
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
default_role = "py:obj"  # docstrings write the names of other objects in single backquotes
maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"

nitpicky = True
nitpick_ignore_regex = [
    # Names of other libraries: links to their documentation would need the network.
    ("py:.*", r"(annotated_types|collections\.abc|matplotlib|pathlib|pydantic|time|typing)\..*"),
    ("py:class", r"Figure|InitVar|PositiveFloat|PydanticUndefined"),
    ("py:class", r"[\d.]+"),  # a limit in the annotation of a pydantic field
    # Names that are private to a file: type variables and annotated types.
    ("py:class", r"llm_streaming\..*\.\w+T|(.*\.)?_\w+"),
    # Arguments and attributes, which docstrings also write in single backquotes.
    ("py:obj", r"[a-z_]+"),
]

html_title = "LLM streaming on Seldon Core 2"
html_theme = "sphinx_book_theme"
html_context = {"default_mode": "auto"}  # light or dark, like the reader's system
html_theme_options = {
    "extra_footer": "Apache License 2.0",
    "footer_content_items": ["extra-footer"],
    "home_page_in_toc": False,
    "navbar_persistent": [],  # the search field is in the sidebar
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "use_fullscreen_button": False,
}
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"
html_extra_path = ["_site"]  # index.html, which redirects to docs/index.html
