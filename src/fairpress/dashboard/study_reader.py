"""The results in a study's folder, as rows to filter: comparisons, groups and networks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fairpress.auditing.result import Verdict
from fairpress.auditing.verdicts.wording import per_thousand
from fairpress.core.estimate import Estimate
from fairpress.dashboard.discovery import AUDIT, MODELS, STUDY, read_study, study_name
from fairpress.dashboard.json_files import Unreadable, read_json
from fairpress.dashboard.visible_text import sent

OVERALL = "everybody"


@dataclass(frozen=True)
class StudyPart:
    """A part of a study: its label, empty if it is the only one, and the labels of its dataset and model."""

    label: str
    dataset: str
    model: str

    @classmethod
    def read(cls, content: Mapping[str, Any], source: str) -> StudyPart:
        """Return the part of an audit in audit.json or a network in models.json; raise Unreadable if it has none."""
        labels = [content["part"], content["dataset"], content["model"]]
        if not all(isinstance(label, str) for label in labels):
            raise Unreadable(f"{source} has a name that is not text.")
        return cls(*labels)


@dataclass(frozen=True)
class Choice:
    """The filters of a visitor; an empty filter matches everything.

    Attributes
    ----------
    dataset, model
        Labels in the study.
    method
        Part of a recipe's name.
    group
        ``attribute = group``, as the report names it.
    """

    dataset: str = ""
    model: str = ""
    method: str = ""
    group: str = ""

    def part(self, part: StudyPart) -> bool:
        """Return whether a part of the study matches."""
        pairs = ((self.dataset, part.dataset), (self.model, part.model))
        return all(not name or sent(name) == sent(label) for name, label in pairs)

    def recipe(self, name: str) -> bool:
        """Return whether the name of a model contains the text of the filter."""
        return sent(self.method).strip() in sent(name)

    def groups(self, name: str) -> bool:
        """Return whether a group matches; without a filter, only the row over all people does."""
        return sent(name) == sent(self.group or OVERALL)


@dataclass(frozen=True)
class ComparisonRow:
    """The loss of one model against another in one group or over all people, in the metric that decides.

    `lacking` of `groups` were not assessed, and `together` judged only together. `upper` is the one-sided bound that
    decides, over all people that of the assessed group where it is largest, `whose`.
    """

    section: str
    part: StudyPart
    recipe: str
    baseline: str
    group: str
    n: float
    verdict: Verdict
    disparate: bool
    loss: Estimate
    lose: float
    gain: float
    lacking: int = 0
    groups: int = 0
    together: int = 0
    metric: str = "accuracy"
    upper: float | None = None
    whose: str = ""


@dataclass(frozen=True)
class NetworkRow:
    """One network: its number in the study, and its facts in models.json."""

    number: int
    part: StudyPart
    recipe: str
    seed: int
    fold: int
    bytes: int
    facts: Mapping[str, Any]


class StudyResults:
    """A finished study's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study: Mapping[str, Any] = read_study(folder) or {}
        self.audits: Mapping[str, Any] = read_json(folder / AUDIT) or {}
        self.networks = [_network(i, f) for i, f in enumerate(read_json(folder / MODELS) or [])]
        self.name: str = study_name(self.study)
        if not isinstance(self.study.get("warnings", []), list):
            raise Unreadable(f"the warnings in {STUDY} are not a list.")
        if not isinstance(self.audits, Mapping):
            raise Unreadable(f"{AUDIT} is damaged, or of another version of fairpress.")

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The study's config, as in study.json."""
        config = json.loads(self.study.get("study", "{}"))
        return config if isinstance(config, Mapping) else {}

    @property
    def parts(self) -> list[StudyPart]:
        return list(dict.fromkeys(n.part for n in self.networks))

    @property
    def datasets(self) -> list[str]:
        return list(self.config.get("datasets") or {})

    @property
    def models(self) -> list[str]:
        return list(self.config.get("models") or {})

    def recipes(self, part: str | None = None) -> list[str]:
        """Return the models of a part, by its label, or of all, in reporting order."""
        return list(dict.fromkeys(n.recipe for n in self.networks if part in (None, n.part.label)))

    def groups(self) -> list[str]:
        """Return every group of every attribute, by its name."""
        return list(dict.fromkeys(c.group for c in self._compared if c.group != OVERALL))

    def compared(self, choice: Choice) -> list[ComparisonRow]:
        """Return the comparisons that match, in one group."""
        return [
            c
            for c in self._compared
            if choice.part(c.part) and choice.recipe(c.recipe) and choice.groups(c.group)
        ]

    def chosen(self, choice: Choice) -> list[NetworkRow]:
        """Return the networks that match."""
        return [n for n in self.networks if choice.part(n.part) and choice.recipe(n.recipe)]

    @cached_property
    def _compared(self) -> list[ComparisonRow]:
        return list(self._rows())

    def _rows(self) -> Iterator[ComparisonRow]:
        for title, audit in self.audits.items():
            part = StudyPart.read(audit, f"{title!r} in {AUDIT}")
            for recipe, comparison in audit["comparisons"].items():
                for group in [
                    comparison["overall"],
                    *(g for a in comparison["attributes"] for g in a["groups"]),
                ]:
                    yield _row(title, part, recipe, audit["baseline"], comparison, group)


def _network(number: int, facts: Mapping[str, Any]) -> NetworkRow:
    part, recipe = StudyPart.read(facts, f"network {number} in {MODELS}"), facts["recipe"]
    if not isinstance(recipe, str):
        raise Unreadable(f"network {number} in {MODELS} has a name that is not text.")
    return NetworkRow(
        number, part, recipe, int(facts["seed"]), int(facts["fold"]), int(facts["bytes"]), facts
    )


def _row(
    title: str,
    part: StudyPart,
    recipe: str,
    baseline: str,
    comparison: Mapping[str, Any],
    group: Mapping[str, Any],
) -> ComparisonRow:
    judged = group["losses"][0]
    loss, metric = judged["estimate"], judged["metric"]
    flips, values = group["flips"], group["values"]
    n = flips["n"] or 1
    every = [] if values else [g for a in comparison["attributes"] for g in a["groups"]]
    pools = [p for a in comparison["attributes"] for p in a["pools"] if p["loss"]["metric"] == metric]
    pooled = [m for p in pools for m in p["members"]]
    bound = comparison["bounds"][0]
    return ComparisonRow(
        title,
        part,
        recipe,
        baseline,
        ", ".join(f"{k} = {v}" for k, v in values.items()) or OVERALL,
        group["n"],
        group["verdict"] if values else comparison["verdict"],
        bool(comparison["disparate"]),
        Estimate(
            loss.get("value"),
            loss.get("low"),
            loss.get("high"),
            loss["n"],
            loss.get("method", ""),
            loss.get("reason"),
        ),
        per_thousand(flips["right_to_wrong"], n),
        per_thousand(flips["wrong_to_right"], n),
        sum(g["verdict"] == "not_estimable" and g["values"] not in pooled for g in every),
        len(every),
        0 if values else len(pooled),
        metric,
        judged["upper"] if values else bound["upper"],
        "" if values else _whose(bound["upper_group"]),
    )


def _whose(group: Mapping[str, Any] | None) -> str:
    """Return the name of the group, or pool, of a bound."""
    if group is None:
        return ""
    if group["members"] is not None:
        return f"{len(group['members'])} small groups together"
    return ", ".join(f"{k} = {v}" for k, v in group["values"].items()) or OVERALL


def page_of(rows: Sequence[NetworkRow], page: int, size: int) -> tuple[Sequence[NetworkRow], int]:
    """Return the rows of a page (from 1) and the number of pages."""
    pages = max(1, -(-len(rows) // size))
    page = min(max(page, 1), pages)
    return rows[(page - 1) * size : page * size], pages
