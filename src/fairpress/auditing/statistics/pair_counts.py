"""Pairs of rows within templates that differ in identity and agree or not, counted from class counts, not one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fairpress.auditing.statistics.design_effect import cluster_sums, design_effect
from fairpress.auditing.statistics.proportion_intervals import agresti_caffo
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate


@dataclass(frozen=True)
class PairCounts:
    """Pairs of each template, or of each identity in each template; an entry for each that has any.

    Attributes
    ----------
    group
        The identity that one row of the pair has [entries], or 0.
    pairs
        Number of pairs [entries].
    before, after
        Pairs that disagree under the first and the second model [entries].
    started, stopped
        Pairs that disagree under the second model alone, and under the first alone [entries].
    """

    group: np.ndarray
    pairs: Floats
    before: Floats
    after: Floats
    started: Floats
    stopped: Floats

    def shares(self, groups: int) -> tuple[TEstimate, TEstimate]:
        """Return the shares of pairs that disagree before and after [groups], inferred over templates."""
        return self._share(self.before, groups), self._share(self.after, groups)

    def change(self, groups: int) -> TEstimate:
        """Return the paired change of the share of pairs that disagree [groups], inferred over templates.

        The ratio Σu/Σm over templates, linearised (Cochran, *Sampling Techniques*, 1977, §11), with two pseudo-templates of
        typical size m̄ = Σm²/Σm in which one row flips: √(2m̄) of the pairs of N rows contain it. Where sizes are so unequal
        that m̄ exceeds their mean by more, so many pairs: a large template that is not in the sample could move as many.
        """
        moved, pairs = self.started - self.stopped, self._total(self.pairs, groups)
        with np.errstate(divide="ignore", invalid="ignore"):
            typical = self._total(self.pairs**2, groups) / pairs
            count = self.templates(groups)
            reach = np.minimum(np.maximum(np.sqrt(2 * typical), typical - pairs / count), typical)
            value = np.where(pairs > 0, self._total(moved, groups) / pairs, np.nan)
            deviations = self._total((moved - value[self.group] * self.pairs) ** 2, groups)
            between = deviations * np.where(count > 1, count / (count - 1), 1.0)
            se = np.sqrt(between + 2 * reach**2) / pairs
            effective = pairs / typical
        df = np.maximum(np.nan_to_num(effective) - 1, 1.0)
        limits = (-1.0, 1.0)
        return TEstimate(value, value, se, pairs, np.nan_to_num(effective), df, limits, "linearised")

    def templates(self, groups: int) -> Floats:
        """Return the number of templates that have pairs [groups]."""
        return self._total(np.ones(len(self.pairs)), groups)

    def _share(self, disagreeing: Floats, groups: int) -> TEstimate:
        """Return a share, with the design effect of templates, and Kish's number of equally large templates − 1 as df."""
        effect = design_effect(
            cluster_sums(self.pairs, self.pairs, disagreeing, disagreeing, self.group, groups)
        )
        pairs = self._total(self.pairs, groups)
        with np.errstate(divide="ignore", invalid="ignore"):
            df = np.maximum(np.nan_to_num(pairs**2 / self._total(self.pairs**2, groups)) - 1, 1.0)
        deff = np.where(np.isfinite(effect.deff), effect.deff, 1.0)
        return replace(agresti_caffo(self._total(disagreeing, groups), pairs, deff), df=df)

    def _total(self, values: Floats, groups: int) -> Floats:
        return np.bincount(self.group, weights=values, minlength=groups).astype(float)


def count_pairs(
    template: np.ndarray, identity: np.ndarray, before: np.ndarray, after: np.ndarray, rows: Floats
) -> tuple[PairCounts, PairCounts]:
    """Return the pairs of each template, and those of each identity in each template.

    A pair is two rows of one template with different identities. Of an identity with classes n_a among the N_a of its
    template, Σ n_a (N_a − n_a) pairs agree, so that a million rows of one template take no longer than their classes.

    Parameters
    ----------
    template, identity
        Numbers of the template and of the identity of each combination [combinations].
    before, after
        Classes that the two models predict [combinations].
    rows
        Rows of each combination [combinations].
    """
    entry, entry_index = _numbered(template, identity)
    nothing = np.zeros_like(before)
    kinds = ((nothing, nothing), (before, nothing), (nothing, after), (before, after))
    pairs, agree_before, agree_after, agree_both = (
        _agreeing(template, entry_index, a, b, rows, entry.shape[1]) for a, b in kinds
    )
    parts = {
        "pairs": pairs,
        "before": pairs - agree_before,
        "after": pairs - agree_after,
        "started": agree_before - agree_both,
        "stopped": agree_after - agree_both,
    }
    whole, whole_index = np.unique(entry[0], return_inverse=True)
    # Each pair of a template belongs to two identities.
    halves = {
        k: np.bincount(whole_index.reshape(-1), weights=v, minlength=len(whole)) / 2 for k, v in parts.items()
    }
    return _with_pairs(np.zeros(len(whole), np.int64), halves), _with_pairs(entry[1], parts)


def _numbered(*codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct combinations of codes [codes, combinations], and the number of each."""
    distinct, index = np.unique(np.stack(codes), axis=1, return_inverse=True)
    return distinct, index.reshape(-1)


def _agreeing(
    template: np.ndarray, entry: np.ndarray, before: np.ndarray, after: np.ndarray, rows: Floats, count: int
) -> Floats:
    """Return for each identity in a template the pairs, with rows of other identities, that agree in both codes."""
    _, in_template = _numbered(template, before, after)
    inside, in_entry = _numbered(entry, before, after)
    all_rows = np.bincount(in_template, weights=rows)
    same = np.bincount(in_entry, weights=rows)
    whole = np.zeros(inside.shape[1])
    whole[in_entry] = all_rows[in_template]
    return np.bincount(inside[0], weights=same * (whole - same), minlength=count).astype(float)


def _with_pairs(group: np.ndarray, parts: dict[str, Floats]) -> PairCounts:
    some = parts["pairs"] > 0
    return PairCounts(group[some], **{name: values[some] for name, values in parts.items()})
