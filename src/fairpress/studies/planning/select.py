"""Filters that run and report a part of a study, with the same keys as in the whole study."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from fairpress.core.errors import UserError, did_you_mean
from fairpress.studies.config.recipe_names import BASELINE, MITIGATION_SEPARATOR, recipe_name
from fairpress.studies.config.study import StudyConfig
from fairpress.studies.planning.matrix import ReportPart, SeedFold
from fairpress.studies.planning.plan import StudyPlan

KEYS = ("dataset", "model", "recipe", "seed", "fold")


@dataclass(frozen=True)
class Filter:
    """Key → patterns, one of which must match; a key without patterns passes everything."""

    patterns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def passes(self, key: str, value: str | int) -> bool:
        """Return whether a value of a key passes."""
        patterns = self.patterns.get(key)
        return patterns is None or any(_matches(pattern, value) for pattern in patterns)

    def networks(self, part: ReportPart) -> tuple[SeedFold, ...]:
        """Return the part's networks whose seed, as in the config, and fold pass."""
        return tuple(
            (seed, fold)
            for seed, fold in part.networks
            if self.passes("seed", seed - part.offset) and self.passes("fold", fold)
        )


def parse_filter(texts: Iterable[str], config: StudyConfig) -> Filter:
    """Read filters such as ``recipe=int8,prune-*,seed=0..3``.

    Commas separate values of one key and, before another ``key=``, keys. Names may contain ``*`` and ``?``; seeds and
    folds may be ranges ``a..b``, both ends included. Different keys must all match; the same key twice adds values.

    Raises
    ------
    UserError
        A key is unknown, or a value matches nothing in the study; suggests the closest name.
    """
    from fairpress.compression.recipes import parse

    patterns_of: dict[str, list[str]] = {}
    for text in texts:
        key = ""
        for piece in _pieces(text):
            head, equals, value = piece.partition("=")
            if equals and head.strip().isalpha():
                key = head.strip()
                if key not in KEYS:
                    raise UserError(f"`only='{text}'`: unknown key {key!r}." + did_you_mean(key, KEYS))
            elif not key:
                raise UserError(f"`only='{text}'`: write key=value, such as recipe=int8 or seed=0..3.")
            else:
                value = piece
            patterns_of.setdefault(key, []).append(re.sub(r"\s+", "", value))
    valid_values: dict[str, Sequence[str | int]] = {
        "dataset": list(config.all_datasets),
        "model": list(config.all_models),
        "recipe": [
            BASELINE,
            *(str(parse(r)) for r in config.recipes),
            *(
                f"{parse(r)}{MITIGATION_SEPARATOR}{label}"
                for label, m in config.mitigations.items()
                for r in m.of
            ),
        ],
        "seed": config.seeds,
        "fold": range(config.folds),
    }
    patterns_of["recipe"] = [recipe_name(p) for p in patterns_of.pop("recipe", [])]
    if not patterns_of["recipe"]:
        del patterns_of["recipe"]
    for key, patterns in patterns_of.items():
        for pattern in patterns:
            if not any(_matches(pattern, value) for value in valid_values[key]):
                raise UserError(
                    f"`only=`: the study has no {key} {pattern!r}."
                    + did_you_mean(pattern, [str(v) for v in valid_values[key]])
                )
    return Filter({key: tuple(patterns) for key, patterns in patterns_of.items()})


def select(plan: StudyPlan, selection: Filter) -> StudyPlan:
    """Return the plan of the trials that pass, with all they need: baselines, placebos, whole batches.

    Batches are those of the whole study, so that nothing is trained twice: with a seed that passes, the other seeds of
    its batch run too, without being reported.
    """
    if not selection.patterns:
        return plan
    parts = tuple(
        p for p in plan.parts if selection.passes("dataset", p.dataset) and selection.passes("model", p.model)
    )
    recipes = tuple(r for r in plan.recipes if selection.passes("recipe", r))
    placebo_of = {r: p for r, p in plan.placebo_of.items() if r in recipes}
    selected = replace(plan, recipes=recipes, placebo_of=placebo_of, parts=parts)
    predictions = {
        (part.label, model): tuple(
            task
            for task in plan.predictions_of.get((part.label, model), ())
            if set(task.networks) & set(selection.networks(part))
        )
        for part in parts
        for model in selected.models
    }
    by_key = {task.key: task for task in plan.tasks}
    needed: set[str] = set()
    stack = [task.key for tasks in predictions.values() for task in tasks]
    while stack:
        key = stack.pop()
        if key not in needed:
            needed.add(key)
            stack += by_key[key].inputs
    return replace(
        selected, predictions_of=predictions, tasks=tuple(t for t in plan.tasks if t.key in needed)
    )


def _matches(pattern: str, value: str | int) -> bool:
    if isinstance(value, str):
        return pattern == value or fnmatchcase(value, pattern)
    between = re.fullmatch(r"(\d+)\.\.(\d+)", pattern)
    if between:
        return int(between[1]) <= value <= int(between[2])
    return pattern == str(value)


def _pieces(text: str) -> list[str]:
    """Split at commas outside parentheses: int4(rows=64,ranges=minmax) is one piece."""
    pieces, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += character
    return [piece for piece in pieces if piece.strip()]
