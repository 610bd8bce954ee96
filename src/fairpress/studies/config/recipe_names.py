"""Names of recipes in studies: the baseline, and mitigations of a recipe."""

from __future__ import annotations

from fairpress.core.errors import UserError

BASELINE = "fp32"
MITIGATION_SEPARATOR = ">"  # between a recipe and the label of a mitigation


def recipe_name(text: str) -> str:
    """Return the canonical name of a recipe; patterns and texts that are not recipes are returned unchanged."""
    from fairpress.compression.recipes import parse

    recipe, separator, mitigation = text.partition(MITIGATION_SEPARATOR)
    try:
        return f"{parse(recipe)}{separator}{mitigation}"
    except UserError:
        return text
