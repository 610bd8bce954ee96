"""Results about flips that no verdict depends on: matched by closeness, and between counterfactual rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fairpress.core.estimate import Estimate


@dataclass(frozen=True)
class MatchedGroup:
    """The flips of a group and of everybody else, as they are and among answers that were as close to call.

    Attributes
    ----------
    values
        Attribute → value.
    n, flipped
        Rows of the group, and those that flipped (weighted where there are weights).
    rest_n, rest_flipped
        The same for all other rows.
    difference
        Share of flips in the group − share elsewhere, as they are.
    share, rest_share
        Shares of flips in the group and elsewhere at equal closeness; None without a stratum that has rows of both.
    matched
        Their difference with its interval; ``n`` counts the rows of the group that have others to be compared with, ``p``
        and ``p_adjusted`` test that it is 0.
    explained
        `difference` − `matched`: what the closeness of the answers explains.
    """

    values: Mapping[str, str]
    n: float
    flipped: float
    rest_n: float
    rest_flipped: float
    difference: Estimate
    share: float | None
    rest_share: float | None
    matched: Estimate
    explained: Estimate


@dataclass(frozen=True)
class MatchedFlips:
    """The matched flips of the groups of one attribute; `columns` are the baseline's scores, `strata` their number."""

    attribute: str
    columns: tuple[str, ...]
    strata: int
    groups: tuple[MatchedGroup, ...]


@dataclass(frozen=True)
class PairDisagreement:
    """Pairs of rows of one template with different identities whose predictions disagree.

    Attributes
    ----------
    values
        The identity that one of the two has; ``{}``: all pairs.
    pairs, templates
        Number of pairs, and of the templates that they belong to.
    before, after
        Share of the pairs that disagree under the baseline and under the compressed model; intervals are over templates.
    change
        `after` − `before`, paired; ``p`` and ``p_adjusted`` test that it is 0.
    """

    values: Mapping[str, str]
    pairs: float
    templates: int
    before: Estimate
    after: Estimate
    change: Estimate


@dataclass(frozen=True)
class CounterfactualPairs:
    """Counterfactual pairs of one attribute: rows that share a value of `column`, the template, and differ in identity."""

    attribute: str
    column: str
    all_pairs: PairDisagreement
    identities: tuple[PairDisagreement, ...]
