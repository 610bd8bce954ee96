"""A model card in Hugging Face's format: README.md with YAML front matter whose model-index has every group's rates."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from fairpress.auditing.result import Audit, Comparison, GroupRates
from fairpress.auditing.verdicts.wording import group_name
from fairpress.core.errors import UserError, did_you_mean
from fairpress.reporting import first_screen, sentences
from fairpress.reporting.formatting import (
    METRIC,
    at_most,
    format_level,
    format_loss,
    group_verdict,
    verdict_line,
)
from fairpress.reporting.group_rows import GroupRow, everybody, group_rows
from fairpress.reporting.markdown import escape

RATES = ("accuracy", "tpr", "fpr", "selection_rate")
TASKS = {
    "abs_error": "tabular-regression",
    "squared_error": "tabular-regression",
    "wer": "automatic-speech-recognition",
    "cer": "automatic-speech-recognition",
}
"""Outcome → the task in Hugging Face's terms."""


def model_card(
    audit: Audit,
    model: str,
    *,
    dataset: str = "",
    task: str = "tabular-classification",
    facts: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """Return the card of one model of an audit.

    Parameters
    ----------
    dataset
        The name of the dataset.
    task
        The task in Hugging Face's terms: ``tabular-classification``, ``image-classification``, ``text-classification``.
    facts
        Further facts about the file, such as its size.
    notes
        Limits and sources, in addition to the notes of the audit.

    Raises
    ------
    UserError
        The audit has no such model.
    """
    models = {m.name: m for m in audit.models}
    if model not in models:
        raise UserError(f"the audit has no model {model!r}." + did_you_mean(model, list(models)))
    rates = models[model]
    compared = next((c for c in audit.comparisons if c.compressed == model), None)
    parts = [_front(audit, model, dataset, task), f"# {escape(model)}\n"]
    parts += [f"> **{escape(line)}**\n" for line in sentences.warnings(audit)]
    parts += _verdict(audit, compared)
    if audit.positive is not None:
        parts.append(f"{escape(sentences.positive(audit))}\n")
    parts += ["## Group by group\n", _table(audit, [rates.overall, *rates.groups], compared)]
    parts += ["## What it is\n", *_facts(audit, dataset, facts or {}), "## Limits\n"]
    limits = [
        "Labels can be biased."
        + (
            ""
            if audit.outcome is not None
            else " Where groups differ in base rates, error rates and predictive values cannot all be equal."
        ),
        "A group with too few rows is reported as not assessed, and never counted as fair.",
        *audit.notes,
        *notes,
    ]
    parts += [f"* {escape(note)}" for note in dict.fromkeys(limits)]
    return "\n".join(parts).rstrip() + "\n"


def _front(audit: Audit, model: str, dataset: str, task: str) -> str:
    from ruamel.yaml import YAML

    if audit.outcome is not None:
        task = TASKS.get(audit.outcome.kind, "other")
    result_of_model = next(m for m in audit.models if m.name == model)
    metrics: list[dict[str, Any]] = [
        {"type": rate, "value": round(e.value, 6), "name": f"{_name(audit, rate)}, {group_name(g.values)}"}
        for g in (result_of_model.overall, *result_of_model.groups)
        for rate in _rates_of(audit)
        if rate in g.rates and (e := g.rates[rate]).value is not None
    ]
    name = dataset or "table of predictions"
    result = {
        "task": {"type": task, "name": _task(audit)},
        "dataset": {"name": name, "type": name, "split": "test"},
        "metrics": metrics,
    }
    head = {
        "library_name": "onnx",
        "pipeline_tag": task,
        "tags": ["onnx", "fairness", "fairpress"],
        "metrics": ["accuracy"] if audit.outcome is None else list(audit.metrics),
        "model-index": [{"name": model, "results": [result]}],
    }
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.allow_unicode, yaml.width = False, True, 4096
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(head, stream)
    return f"---\n{stream.getvalue()}---\n"


def _verdict(audit: Audit, compared: Comparison | None) -> list[str]:
    if compared is None:
        return [
            f"The baseline of an audit of {audit.rows:,} test rows, with which the other models are compared.\n"
        ]
    summary = next(r for r in first_screen.first_screen_rows(audit) if r.model == compared.compressed)
    lines = [
        f"**{escape(verdict_line(compared))}**, against {escape(audit.baseline)}. "
        f"{escape(' '.join(sentences.headline(compared, audit)))}\n",
        f"**Who pays:** {escape(sentences.who_pays(compared, audit))}\n",
        f"**What next:** {escape(summary.do)}\n",
    ]
    reason = sentences.worst_reason(compared, audit)
    return [*lines, *([f"{escape(reason)}\n"] if reason and reason not in lines[1] else [])]


def _table(audit: Audit, groups: Sequence[GroupRates], compared: Comparison | None) -> str:
    rates = [r for r in _rates_of(audit) if r in groups[0].rates]
    rows: dict[str, GroupRow] = {}
    if compared is not None:
        rows = {r.name: r for r in (everybody(compared), *group_rows(compared))}
    m = audit.measure(audit.metrics[0])
    head = ["group", "n", *(escape(_title(audit, r)) for r in rates)]
    counts = (
        "of 1,000 lose / gain a correct answer" if audit.outcome is None else "of 1,000 rows worse / better"
    )
    if compared is not None:
        head += ["decided by", escape(m.unit or "loss"), "at most", counts, "verdict"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for g in groups:
        cells = [
            escape(group_name(g.values)),
            f"{g.n:,.0f}",
            *(_cell(format_level(audit, r, g.rates[r])) for r in rates),
        ]
        row = rows.pop(group_name(g.values), None)
        if row is not None:
            cells += _judged(row)
        lines.append(f"| {' | '.join(cells)} |")
    # What is left are the pools, which have no rates.
    lines += [
        f"| {' | '.join([escape(r.title), f'{r.n:,.0f}', *('–' for _ in rates), *_judged(r)])} |"
        for r in rows.values()
    ]
    confidence = f"{100 * audit.confidence:g} %"
    judged = (
        f"{_about(audit)} with its {confidence} interval, positive = worse; at most: the "
        f"one-sided {confidence} bound, which decides; {sentences.margins(audit)}."
        if compared is not None
        else f"Intervals at {confidence}."
    )
    seeds = f" Mean over {audit.seeds} training seeds." if audit.seeds else ""
    return "\n".join([*lines, "", escape(judged + seeds), ""])


def _judged(row: GroupRow) -> list[str]:
    return [
        escape(row.error),
        _cell(format_loss(row.loss)),
        at_most(row.loss),
        f"{row.lose:.0f} / {row.gain:.0f}",
        group_verdict(row),
    ]


def _rates_of(audit: Audit) -> tuple[str, ...]:
    return RATES if audit.outcome is None else audit.metrics


def _name(audit: Audit, rate: str) -> str:
    return METRIC[rate] if audit.outcome is None else audit.measure(rate).name


def _title(audit: Audit, rate: str) -> str:
    """Return the name of a rate, or of the level of an outcome with its unit."""
    unit = "" if audit.outcome is None else audit.measure(rate).suffix
    return f"{_name(audit, rate)}{',' if unit else ''}{unit}"


def _task(audit: Audit) -> str:
    return f"predicts {audit.label}" if audit.outcome is None else f"judged by {audit.label}"


def _about(audit: Audit) -> str:
    """Return what the numbers of the table of groups are."""
    if audit.outcome is None:
        return "Points: rise of the error in percentage points"
    m = audit.measure(audit.metrics[0])
    return f"{audit.outcome.title} {m.rise.capitalize()} of the {m.name}"


def _cell(text: str) -> str:
    return "not estimable" if text.startswith("not estimable") else text


def _facts(audit: Audit, dataset: str, facts: Mapping[str, str]) -> list[str]:
    entries = {
        **({"data": dataset} if dataset else {}),
        "label" if audit.outcome is None else "outcome": f"{audit.label}"
        + (f", positive: {audit.positive}" if audit.positive else ""),
        "test rows": f"{audit.rows:,}",
        "sensitive attributes": ", ".join(audit.attributes),
        **facts,
        **{k: str(v) for k, v in audit.provenance.items()},
    }
    return [*(f"* **{escape(k)}:** {escape(v)}" for k, v in entries.items()), ""]
