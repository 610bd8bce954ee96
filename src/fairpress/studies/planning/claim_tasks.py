"""The parameters and inputs of the task that tests a study's claims. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fairpress.core.config import ConfigError, ConfigSource
from fairpress.core.errors import UserError
from fairpress.studies.config.study import StudyConfig
from fairpress.studies.planning.claim_trials import ClaimTrials, check_claim, excluded_trials, resolve_claim
from fairpress.studies.planning.dataset_facts import DataFacts
from fairpress.studies.planning.matrix import ReportPart
from fairpress.studies.planning.plan import StudyPlan, StudyTask, plan_study

Seeds = tuple[int, ...]
MATRIX = ("recipes", "model", "models", "dataset", "datasets", "mitigations", "placebos", "audit", "naive")


def claims_params(
    config: StudyConfig,
    plan: StudyPlan,
    data: Mapping[str, DataFacts],
    complete: Callable[[ReportPart, str], Seeds],
    table: Callable[[ReportPart, Seeds], StudyTask],
) -> tuple[dict[str, Any], list[str]]:
    """Return the parameters of the task and the keys of its input tables.

    Parameters
    ----------
    complete
        Function (part, recipe) → the seeds for which all networks have predictions.
    table
        Function (part, seeds) → the task that joins the predictions of the part on these seeds.
    """
    parts = {p.label: p for p in plan.parts}
    claims: dict[str, Any] = {}
    inputs: list[str] = []
    for name, claim in config.claims.items():
        try:
            trials = resolve_claim(claim, config, plan)
        except UserError as error:  # for a study from a file, `claim_problems` reported it before
            trials = ClaimTrials({}, {}, claim.by or config.audit.by[0], _plain(error))
        needed = trials.needed() if not trials.reason else {}
        common: set[int] | None = None
        for label, recipes in needed.items():
            part = parts[label]
            for recipe in recipes:
                seeds = {s - part.offset for s in complete(part, recipe)}
                common = seeds if common is None else common & seeds
        if needed and not common:
            trials, needed = excluded_trials(trials, "no seed has all of its networks"), {}
        absent = [
            a
            for a in trials.by.split("*")
            if needed and a not in data[parts[next(iter(needed))].dataset].groups
        ]
        if absent:
            trials, needed = excluded_trials(trials, f"the data have no attribute {absent[0]!r}"), {}
        tables = {}
        for label in needed:
            part = parts[label]
            key = table(part, tuple(sorted(s + part.offset for s in common or ()))).key
            if key not in inputs:
                inputs.append(key)
            tables[label] = inputs.index(key)
        facts = data[parts[next(iter(needed))].dataset] if needed else None
        claims[name] = {
            "claim": claim.model_dump(mode="json"),
            "by": trials.by,
            "reason": trials.reason,
            "effect": [[p, r, w] for (p, r), w in trials.effect.items()],
            "lost": [[p, r, w] for (p, r), w in trials.lost.items()],
            "tables": tables,
            "positive": facts.positive if facts else None,
            "people": facts.repeated if facts else False,
        }
    return {"claims": claims, "folds": config.folds, "confidence": config.audit.confidence}, inputs


def claim_problems(source: ConfigSource, config: StudyConfig) -> list[ConfigError]:
    """Return a problem for every claim and phase that names something that is not in the study.

    If an override changed the matrix of the study, the file is not at fault: its claims are then "not answered".
    """
    from fairpress.studies.planning.select import parse_filter

    problems: list[ConfigError] = []
    changed = {path[0] for path in source.overridden} & set(MATRIX)
    if changed or not (config.claims or config.phases):
        return problems
    # Groups with separate networks are known only from the data; claims do not name their trials.
    try:
        matrix = plan_study(config.model_copy(update={"per_group": False}), lambda dataset, fold: "")
    except UserError:
        return problems  # reported by `check_names`
    for name, claim in config.claims.items():
        try:
            check_claim(claim, config, matrix)
        except UserError as error:
            problems.append(
                ConfigError.from_path(source, ("claims", name), f"claim {name!r}: {_plain(error)}")
            )
    for name, texts in config.phases.items():
        try:
            parse_filter(texts, config)
        except UserError as error:
            problems.append(
                ConfigError.from_path(source, ("phases", name), f"phase {name!r}: {_plain(error)}")
            )
    return problems


def phase(config: StudyConfig, name: str | None) -> Sequence[str]:
    """Return the filters of a phase; ``all``, or None, is the whole study. Raises UserError for an unknown phase."""
    from fairpress.core.errors import did_you_mean

    if name is None or (name == "all" and "all" not in config.phases):
        return ()
    if name not in config.phases:
        names = [*config.phases, "all"]
        raise UserError(f"`phase=`: the study has no phase {name!r}." + did_you_mean(name, names))
    return config.phases[name]


def _plain(error: UserError) -> str:
    """Return the message of a filter's error without the parameter `only=`, which a claim or phase does not use."""
    return re.sub(r"^`only=[^`]*`: ", "", str(error))
