"""Resolve a claim's filters to trials, each with its weight in the effect. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from fairpress.core.errors import UserError, did_you_mean
from fairpress.studies.config.claims import LOSSES, Claim
from fairpress.studies.config.recipe_names import BASELINE, recipe_name
from fairpress.studies.config.study import StudyConfig
from fairpress.studies.planning.matrix import ReportPart
from fairpress.studies.planning.plan import StudyPlan
from fairpress.studies.planning.select import Filter, parse_filter

Trial = tuple[str, str]
"""Label of the part, recipe."""
FILTERED = ("dataset", "model", "recipe")


@dataclass(frozen=True)
class ClaimTrials:
    """The trials of a claim in the plan of a study.

    Attributes
    ----------
    effect
        Trial → its weight; the effect is the weighted sum of the quantity.
    lost
        For `recovers`, the weights of the loss of `against` relative to the baseline.
    by
        The attribute.
    reason
        Why this plan cannot test the claim; empty if it can.
    """

    effect: Mapping[Trial, float]
    lost: Mapping[Trial, float]
    by: str
    reason: str = ""

    def needed(self) -> dict[str, list[str]]:
        """Return the label of every part → the recipes whose predictions are read, the baseline first."""
        recipes_of: dict[str, list[str]] = {}
        for part, recipe in (*self.effect, *self.lost):
            recipes_of.setdefault(part, [BASELINE])
            if recipe not in recipes_of[part]:
                recipes_of[part].append(recipe)
        return recipes_of


def resolve_claim(claim: Claim, config: StudyConfig, plan: StudyPlan) -> ClaimTrials:
    """Return the trials of a claim.

    Raises UserError for filters that match nothing in the study, and for trials of several datasets. If trials are missing
    from the plan, such as under a filter ``only``, the result states it in `reason`.
    """
    try:
        return _Resolver(claim, config, plan).resolve()
    except _AbsentTrial as absent:
        return ClaimTrials({}, {}, claim.by or config.audit.by[0], str(absent))


class _AbsentTrial(Exception):
    """A trial is not in the plan."""


class _Resolver:
    def __init__(self, claim: Claim, config: StudyConfig, plan: StudyPlan) -> None:
        self.claim, self.config, self.plan = claim, config, plan

    def resolve(self) -> ClaimTrials:
        claim = self.claim
        if claim.along is not None:
            return self._weighted(self._slope())
        claimed = self._trials(claim.of)
        against: list[Trial]
        if claim.against is None:
            against = (
                []
                if claim.quantity in LOSSES or claim.quantity == "sensitivity_depth"
                else self._base(claimed)
            )
        elif claim.against == "baseline":
            against = self._base(claimed)
        elif isinstance(claim.against, str):
            pairs = self.plan.placebo_of if claim.against == "placebo" else self.plan.plain_of
            absent = [r for _, r in claimed if r not in pairs]
            if absent:
                raise _AbsentTrial(f"the study has no {claim.against} of {absent[0]}")
            against = [(part, pairs[recipe]) for part, recipe in claimed]
        else:
            against = self._trials(claim.against)
        sides = _mean(claimed, 1.0), _mean(against, -1.0)
        if claim.recovers is not None:
            lost = _added({t: -w for t, w in sides[1].items()}, _mean(self._base(against), -1.0))
            return self._weighted(_added(*({t: -w for t, w in s.items()} for s in sides)), lost)
        return self._weighted(_added(*sides))

    def _weighted(
        self, effect: Mapping[Trial, float], lost: Mapping[Trial, float] | None = None
    ) -> ClaimTrials:
        if self.claim.change:
            base: dict[Trial, float] = {}
            for (part, _), weight in effect.items():
                base[(part, BASELINE)] = base.get((part, BASELINE), 0.0) - weight
            effect = _added(effect, base)
        if self.claim.quantity in LOSSES:  # the loss of the baseline relative to itself is 0
            effect = {t: w for t, w in effect.items() if t[1] != BASELINE}
            lost = {t: w for t, w in (lost or {}).items() if t[1] != BASELINE}
        if not effect:
            raise _AbsentTrial("it compares the baseline with itself")
        by = self.claim.by or self._default_by(effect)
        return ClaimTrials(effect, lost or {}, by)

    def _default_by(self, effect: Iterable[Trial]) -> str:
        label = next(iter(effect))[0]
        return next(p for p in self.plan.parts if p.label == label).by[0]

    def _slope(self) -> dict[Trial, float]:
        """Return the weights of the least-squares slope over equidistant steps."""
        assert self.claim.along is not None
        ((key, order),) = self.claim.along.items()
        valid_names = list(self.config.all_models) if key == "model" else _recipes(self.config, self.plan)
        middle = (len(order) - 1) / 2
        square = sum((i - middle) ** 2 for i in range(len(order)))
        effect: dict[Trial, float] = {}
        for i, written in enumerate(order):
            entry = recipe_name(written) if key == "recipe" else written
            if entry not in valid_names:
                raise UserError(f"the study has no {key} {entry!r}." + did_you_mean(entry, valid_names))
            step = self._trials((*self.claim.of, f"{key}={entry}"))
            effect = _added(effect, _mean(step, (i - middle) / square))
        return effect

    def _trials(self, texts: Sequence[str]) -> list[Trial]:
        selection = parse_filter([t for t in texts if t != f"recipe={BASELINE}"], self.config)
        unsupported = sorted(set(selection.patterns) - set(FILTERED))
        if unsupported:
            raise UserError(
                f"a claim can filter by {', '.join(FILTERED)}, not by {unsupported[0]}; remove that filter."
            )
        parts = [
            p
            for p in self._parts()
            if selection.passes("dataset", p.dataset) and selection.passes("model", p.model)
        ]
        if not parts:
            raise _AbsentTrial("its datasets or models are excluded from this run")
        if len({p.dataset for p in parts}) > 1:
            raise UserError("it selects several datasets; add dataset=… to its filters.")
        recipes = selection.patterns.get("recipe")
        names = [BASELINE] if recipes is None else self._matching_recipes(selection)
        return [(p.label, name) for p in parts for name in names]

    def _matching_recipes(self, selection: Filter) -> list[str]:
        """Return the planned recipes that pass a filter; raise `_AbsentTrial` if a pattern matches none."""
        planned = [BASELINE, *self.plan.recipes]
        matches = [r for r in planned if selection.passes("recipe", r)]
        missing = [
            p for p in selection.patterns["recipe"] if not any(p == r or fnmatchcase(r, p) for r in planned)
        ]
        if missing:
            raise _AbsentTrial(f"{missing[0]} is excluded from this run")
        return matches

    def _parts(self) -> list[ReportPart]:
        """Return the parts whose networks apply to the claim's attribute."""
        return [
            p
            for p in self.plan.parts
            if self.claim.by is None or p.attribute is None or p.attribute == self.claim.by
        ]

    def _base(self, trials: Sequence[Trial]) -> list[Trial]:
        return [(part, BASELINE) for part, _ in trials]


def check_claim(claim: Claim, config: StudyConfig, plan: StudyPlan) -> None:
    """Raise UserError if a claim names something that is not in the study; needs no data."""
    trials = resolve_claim(claim, config, plan)
    if trials.reason:
        raise UserError(f"{trials.reason}.")
    labels = {part for part, _ in trials.effect}
    attributes = {a for p in plan.parts if p.label in labels for b in p.by for a in b.split("*")}
    for attribute in (claim.by or trials.by).split("*"):
        if attribute not in attributes:
            raise UserError(
                f"the audit has no attribute {attribute!r}." + did_you_mean(attribute, sorted(attributes))
            )


def excluded_trials(trials: ClaimTrials, reason: str) -> ClaimTrials:
    """Return the trials without weights, with the reason why the claim cannot be tested."""
    return replace(trials, effect={}, lost={}, reason=reason)


def _recipes(config: StudyConfig, plan: StudyPlan) -> list[str]:
    from fairpress.compression.recipes import parse

    return [BASELINE, *dict.fromkeys([*(str(parse(r)) for r in config.recipes), *plan.recipes])]


def _mean(trials: Sequence[Trial], weight: float) -> dict[Trial, float]:
    weights: dict[Trial, float] = {}
    for trial in trials:
        weights[trial] = weights.get(trial, 0.0) + weight / len(trials)
    return weights


def _added(*parts: Mapping[Trial, float]) -> dict[Trial, float]:
    total: dict[Trial, float] = {}
    for part in parts:
        for trial, weight in part.items():
            total[trial] = total.get(trial, 0.0) + weight
    return {t: w for t, w in total.items() if abs(w) > 1e-12}
