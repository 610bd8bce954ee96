"""From a claim's words to the trials it is about, each with its weight in the effect. Pure."""

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
    """A claim on the trials of a plan.

    Attributes
    ----------
    effect
        Trial → its weight; the effect is the weighted sum of the quantity.
    lost
        The same for what `recovers` refers to: what `against` loses against the baseline.
    by
        The attribute.
    reason
        Why it cannot be answered by this plan, empty where it can.
    """

    effect: Mapping[Trial, float]
    lost: Mapping[Trial, float]
    by: str
    reason: str = ""

    def needed(self) -> dict[str, list[str]]:
        """Return the label of every part → recipes whose predictions are read there, the baseline first."""
        found: dict[str, list[str]] = {}
        for part, recipe in (*self.effect, *self.lost):
            found.setdefault(part, [BASELINE])
            if recipe not in found[part]:
                found[part].append(recipe)
        return found


def resolve_claim(claim: Claim, config: StudyConfig, layout: StudyPlan) -> ClaimTrials:
    """Return the trials a claim is about.

    Raises UserError for words that nothing in the study answers to, or trials of several datasets; trials that the plan has
    not (such as under ``--only``) are a `reason`.
    """
    try:
        return _Resolver(claim, config, layout).resolved()
    except _Absent as absent:
        return ClaimTrials({}, {}, claim.by or config.audit.by[0], str(absent))


class _Absent(Exception):
    """A trial is not in the plan."""


class _Resolver:
    def __init__(self, claim: Claim, config: StudyConfig, layout: StudyPlan) -> None:
        self.claim, self.config, self.layout = claim, config, layout

    def resolved(self) -> ClaimTrials:
        claim = self.claim
        if claim.along is not None:
            return self._made(self._slope())
        of = self._trials(claim.of)
        against: list[Trial]
        if claim.against is None:
            against = (
                [] if claim.quantity in LOSSES or claim.quantity == "sensitivity_depth" else self._base(of)
            )
        elif claim.against == "baseline":
            against = self._base(of)
        elif isinstance(claim.against, str):
            pairs = self.layout.placebo_of if claim.against == "placebo" else self.layout.plain_of
            absent = [r for _, r in of if r not in pairs]
            if absent:
                raise _Absent(f"{absent[0]} has no {claim.against} in this study")
            against = [(part, pairs[recipe]) for part, recipe in of]
        else:
            against = self._trials(claim.against)
        sides = _mean(of, 1.0), _mean(against, -1.0)
        if claim.recovers is not None:
            lost = _added({t: -w for t, w in sides[1].items()}, _mean(self._base(against), -1.0))
            return self._made(_added(*({t: -w for t, w in s.items()} for s in sides)), lost)
        return self._made(_added(*sides))

    def _made(self, effect: Mapping[Trial, float], lost: Mapping[Trial, float] | None = None) -> ClaimTrials:
        if self.claim.change:
            base: dict[Trial, float] = {}
            for (part, _), weight in effect.items():
                base[(part, BASELINE)] = base.get((part, BASELINE), 0.0) - weight
            effect = _added(effect, base)
        if self.claim.quantity in LOSSES:  # of the baseline against itself: none
            effect = {t: w for t, w in effect.items() if t[1] != BASELINE}
            lost = {t: w for t, w in (lost or {}).items() if t[1] != BASELINE}
        if not effect:
            raise _Absent("it compares the baseline with itself")
        by = self.claim.by or self._default_by(effect)
        return ClaimTrials(effect, lost or {}, by)

    def _default_by(self, effect: Iterable[Trial]) -> str:
        label = next(iter(effect))[0]
        return next(p for p in self.layout.parts if p.label == label).by[0]

    def _slope(self) -> dict[Trial, float]:
        """Return the weights of the least-squares slope over equidistant steps."""
        assert self.claim.along is not None
        ((key, order),) = self.claim.along.items()
        known = list(self.config.all_models) if key == "model" else _recipes(self.config, self.layout)
        middle = (len(order) - 1) / 2
        square = sum((i - middle) ** 2 for i in range(len(order)))
        effect: dict[Trial, float] = {}
        for i, written in enumerate(order):
            entry = recipe_name(written) if key == "recipe" else written
            if entry not in known:
                raise UserError(f"the study has no {key} {entry!r}." + did_you_mean(entry, known))
            step = self._trials((*self.claim.of, f"{key}={entry}"))
            effect = _added(effect, _mean(step, (i - middle) / square))
        return effect

    def _trials(self, texts: Sequence[str]) -> list[Trial]:
        asked = parse_filter([t for t in texts if t != f"recipe={BASELINE}"], self.config)
        odd = sorted(set(asked.patterns) - set(FILTERED))
        if odd:
            raise UserError(f"a claim chooses by {', '.join(FILTERED)}, not by {odd[0]}.")
        parts = [
            p for p in self._parts() if asked.passes("dataset", p.dataset) and asked.passes("model", p.model)
        ]
        if not parts:
            raise _Absent("its datasets or models are left out")
        if len({p.dataset for p in parts}) > 1:
            raise UserError("it is about several datasets; add dataset=… to its filters.")
        wanted = asked.patterns.get("recipe")
        names = [BASELINE] if wanted is None else self._chosen(asked)
        return [(p.label, name) for p in parts for name in names]

    def _chosen(self, asked: Filter) -> list[str]:
        """Return the recipes of a filter, as far as the plan has them; all that are asked for by name must be there."""
        there = [BASELINE, *self.layout.recipes]
        found = [r for r in there if asked.passes("recipe", r)]
        lost = [p for p in asked.patterns["recipe"] if not any(p == r or fnmatchcase(r, p) for r in there)]
        if lost:
            raise _Absent(f"{lost[0]} is left out")
        return found

    def _parts(self) -> list[ReportPart]:
        """Return the parts whose networks answer for the claim's attribute."""
        return [
            p
            for p in self.layout.parts
            if self.claim.by is None or p.attribute is None or p.attribute == self.claim.by
        ]

    def _base(self, trials: Sequence[Trial]) -> list[Trial]:
        return [(part, BASELINE) for part, _ in trials]


def check_claim(claim: Claim, config: StudyConfig, layout: StudyPlan) -> None:
    """Raise UserError where a claim names what the study has not, whatever data there are."""
    found = resolve_claim(claim, config, layout)
    if found.reason:
        raise UserError(f"{found.reason}.")
    labels = {part for part, _ in found.effect}
    attributes = {a for p in layout.parts if p.label in labels for b in p.by for a in b.split("*")}
    for attribute in (claim.by or found.by).split("*"):
        if attribute not in attributes:
            raise UserError(
                f"the audit has no attribute {attribute!r}." + did_you_mean(attribute, sorted(attributes))
            )


def excluded_trials(found: ClaimTrials, reason: str) -> ClaimTrials:
    """Return a claim that cannot be answered, with the reason."""
    return replace(found, effect={}, lost={}, reason=reason)


def _recipes(config: StudyConfig, layout: StudyPlan) -> list[str]:
    from fairpress.compression.recipes import parse

    return [BASELINE, *dict.fromkeys([*(str(parse(r)) for r in config.recipes), *layout.recipes])]


def _mean(trials: Sequence[Trial], weight: float) -> dict[Trial, float]:
    found: dict[Trial, float] = {}
    for trial in trials:
        found[trial] = found.get(trial, 0.0) + weight / len(trials)
    return found


def _added(*parts: Mapping[Trial, float]) -> dict[Trial, float]:
    found: dict[Trial, float] = {}
    for part in parts:
        for trial, weight in part.items():
            found[trial] = found.get(trial, 0.0) + weight
    return {t: w for t, w in found.items() if abs(w) > 1e-12}
