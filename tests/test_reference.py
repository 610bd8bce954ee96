"""docs/cli-reference.md and docs/api-reference.md are what docs/make_reference.py writes from the code."""

from __future__ import annotations

import importlib.util

import pytest

from pages import ROOT

WRITE = "run `python docs/make_reference.py`"


def maker():
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["cli_page", "api_page"])
def test_the_reference_is_up_to_date(page):
    path = ROOT / "docs" / f"{page.replace('_page', '-reference')}.md"
    assert path.read_text(encoding="utf-8") == getattr(maker(), page)(), WRITE


def test_every_option_and_every_public_name_is_in_the_reference():
    import fairpress

    cli = (ROOT / "docs" / "cli-reference.md").read_text(encoding="utf-8")
    api = (ROOT / "docs" / "api-reference.md").read_text(encoding="utf-8")
    for option in ("--baseline", "--max-group-loss", "--flips", "--pretrained", "--workers"):
        assert f"`{option}`" in cli
    assert not [
        name for name in fairpress.__all__ if not name.startswith("_") and f"## fp.{name}\n" not in api
    ]


def test_a_docstring_becomes_markdown():
    made = maker()
    text = """Return a thing.

    Parameters
    ----------
    a, b
        Two of
        them, as ``a*b``.
    *c
        More | less.

    Raises
    ------
    UserError
        Always.
    """
    assert made.described(text) == [
        "Return a thing.",
        "**Parameters**",
        "* `a, b`: Two of them, as `a*b`.\n* `*c`: More \\| less.",
        "**Raises**",
        "* `UserError`: Always.",
    ]
