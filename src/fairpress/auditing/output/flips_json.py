"""Matched flips and counterfactual pairs as audit.json holds them."""

from __future__ import annotations

from typing import Any

from fairpress.auditing.flip_results import CounterfactualPairs, MatchedFlips, PairDisagreement


def matched_to_dict(x: MatchedFlips) -> dict[str, Any]:
    """Return the matched flips of an attribute."""
    return {
        "attribute": x.attribute,
        "columns": list(x.columns),
        "strata": x.strata,
        "groups": [
            {
                "values": dict(g.values),
                "n": g.n,
                "flipped": g.flipped,
                "rest_n": g.rest_n,
                "rest_flipped": g.rest_flipped,
                "difference": g.difference.to_dict(),
                "share": g.share,
                "rest_share": g.rest_share,
                "matched": g.matched.to_dict(),
                "explained": g.explained.to_dict(),
            }
            for g in x.groups
        ],
    }


def counterfactual_to_dict(x: CounterfactualPairs) -> dict[str, Any]:
    """Return the counterfactual pairs of an attribute."""
    return {
        "attribute": x.attribute,
        "column": x.column,
        "all_pairs": _pairs(x.all_pairs),
        "identities": [_pairs(p) for p in x.identities],
    }


def _pairs(x: PairDisagreement) -> dict[str, Any]:
    return {
        "values": dict(x.values),
        "pairs": x.pairs,
        "templates": x.templates,
        "before": x.before.to_dict(),
        "after": x.after.to_dict(),
        "change": x.change.to_dict(),
    }
