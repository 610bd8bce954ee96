"""What is added to comparisons about flips, and changes no verdict: matched flips, and counterfactual pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fairpress.auditing.inference.counterfactual_pairs import counterfactual_pairs
from fairpress.auditing.inference.matched_flips import match_flips
from fairpress.auditing.read_table import AuditInput
from fairpress.auditing.result import Comparison


def with_flips(data: AuditInput, comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Return comparisons with the matched flips and the counterfactual pairs of what was read.

    Raises UserError where no template has rows of two identities.
    """
    options = data.options
    rules = (data.attributes, options.confidence, options.correction, options.family)
    matched = (
        {} if data.closeness is None else match_flips(data.closeness, data.baseline, data.compressed, *rules)
    )
    pairs = {}
    if data.templates is not None:
        pairs = counterfactual_pairs(data.templates, data.baseline, data.compressed, *rules)
    return tuple(
        replace(c, matched_flips=matched.get(c.compressed, ()), counterfactual=pairs.get(c.compressed, ()))
        for c in comparisons
    )
