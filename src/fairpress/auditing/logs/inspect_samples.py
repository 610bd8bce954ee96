"""Samples of inspect_ai, as its reader returns them, as a table to audit."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.auditing.logs.attribute_fields import Fields, candidate_fields, repeats
from fairpress.auditing.logs.item_outcomes import ItemOutcome, class_outcome, number_outcome, right_or_wrong
from fairpress.auditing.logs.log_options import RESERVED
from fairpress.auditing.logs.pairing import ItemLog, pair_items
from fairpress.auditing.table_metadata import TableDescription
from fairpress.core.errors import UserError, did_you_mean, listed

if TYPE_CHECKING:
    import pyarrow as pa

CREDIT = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Scores by name: correct, partly correct, incorrect, no answer."""
_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_NONE = "none"
"""The class of an answer that is no letter."""
_HEAD = 200


@dataclass(frozen=True)
class InspectLog:
    """The samples of one model: (task, sample), with notes and warnings on how they were found."""

    model: str
    samples: Sequence[tuple[str, Any]]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def inspect_table(
    logs: Sequence[InspectLog],
    *,
    scorer: str | None,
    better: str | None,
    fields: Sequence[str],
    unpaired: str,
    same: Mapping[str, str],
    sources: Mapping[str, str],
) -> pa.Table:
    """Return the table that `read_inspect` describes; `same` is what must be equal → its name in messages."""
    import pyarrow as pa

    chosen = _scorer(logs, scorer)
    models = [log.model for log in logs]
    columns = candidate_fields(
        (s.metadata or {} for _, s in logs[0].samples[:_HEAD]),
        fields,
        (*RESERVED, *models),
        "metadata.",
        always_prefixed=True,
    )
    items = [
        ItemLog(log.model, _items(log, chosen, columns if i == 0 else None)) for i, log in enumerate(logs)
    ]
    paired = pair_items(items, ("task", "id", "epoch"), same, unpaired=unpaired)
    outcome = _outcome(models, paired.tables, chosen, better)
    first = paired.tables[0]
    names = _sample_names(first)
    epochs = len(set(first["epoch"].to_pylist())) > 1
    table: dict[str, Any] = {"item": names, "task": first["task"]} | (
        {"epoch": first["epoch"]} if epochs else {}
    )
    table |= outcome.columns
    for name in columns.columns:
        column = first[f"field {name}"].combine_chunks()
        if name in columns.requested or repeats(column):
            table[name] = column
    left = [part for part in ("input", "target") if part not in same]
    warnings = [w for log in logs for w in (*log.warnings, *_unscored(log, chosen))]
    warnings += [*paired.warnings, *(f"Not required to be the same for all models: {part}." for part in left)]
    notes = [*(n for log in logs for n in log.notes), *outcome.notes]
    description = TableDescription(
        tuple(models),
        outcome.classes,
        outcome.positive,
        "item" if epochs else None,
        outcome.outcome,
        sources,
        tuple(warnings),
        tuple(notes),
    )
    return pa.table(table).replace_schema_metadata(dict(description.metadata()))


def _scorer(logs: Sequence[InspectLog], requested: str | None) -> str:
    """Return the scorer of every task of every log, or the requested one."""
    by_task: dict[tuple[str, str], dict[str, None]] = {}
    for log in logs:
        for task, sample in log.samples:
            by_task.setdefault((log.model, task), {}).update(dict.fromkeys(sample.scores or {}))
    every = list(dict.fromkeys(name for names in by_task.values() for name in names))
    common = [name for name in every if all(name in names for names in by_task.values())]
    if requested is not None and requested not in every:
        raise UserError(f"the logs have no scorer {requested!r}." + did_you_mean(requested, every))
    if requested in common:
        return str(requested)
    if requested is None and len(common) == 1:
        return common[0]
    if requested is None and common:
        raise UserError(
            f"the logs have the scorers {', '.join(common)}; choose one, such as `scorer={common[0]!r}`."
        )
    described = "; ".join(
        f"{task} of {m}: {', '.join(n) or 'none'}" for (m, task), n in list(by_task.items())[:5]
    )
    raise UserError(
        f"the tasks have no scorer in common ({described}); audit tasks that have one, with `tasks=`."
        if requested is None
        else f"not every task has the scorer {requested!r} ({described}); audit the others with `tasks=`."
    )


def _unscored(log: InspectLog, scorer: str) -> list[str]:
    """Return a warning about samples without a score."""
    absent = [f"{task}/{s.id}" for task, s in log.samples if scorer not in (s.scores or {})]
    if not absent:
        return []
    return [
        f"{log.model}: {len(absent):,} of {len(log.samples):,} samples have no score of {scorer} ({listed(absent, 3)}), "
        "maybe because they failed; they are not audited."
    ]


def _items(log: InspectLog, scorer: str, fields: Fields | None) -> pa.Table:
    """Return a line for each sample that was scored; one that failed has no score, and counts as missing."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {
        n: [] for n in ("task", "id", "epoch", "input", "target", "value", "answer")
    }
    metadata: list[Mapping[str, Any]] = []
    for task, sample in log.samples:
        score = (sample.scores or {}).get(scorer)
        if score is None:
            continue
        columns["task"].append(task)
        columns["id"].append(str(sample.id))
        columns["epoch"].append(str(sample.epoch))
        columns["input"].append(_digest(sample))
        target = sample.target
        columns["target"].append(target if isinstance(target, str) else json.dumps(list(target)))
        columns["value"].append(
            score.value if isinstance(score.value, str) else json.dumps(score.value, default=str)
        )
        columns["answer"].append(None if score.answer is None else str(score.answer))
        metadata.append(sample.metadata or {})
    table = pa.table({n: pa.array(v, pa.string()) for n, v in columns.items()})
    for name, key in (fields.columns if fields is not None else {}).items():
        texts = [None if (v := m.get(key)) is None else str(v) for m in metadata]
        table = table.append_column(f"field {name}", pa.array(texts, pa.string()))
    return table


def _digest(sample: Any) -> str:
    """Return a digest of what a model was asked, which does not leave this function as text."""
    given = sample.input
    if not isinstance(given, str):
        given = [[str(m.role), str(getattr(m, "text", m.content))] for m in given]
    text = json.dumps([given, sample.choices], default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _sample_names(table: pa.Table) -> pa.Array:
    import pyarrow.compute as pc

    names: pa.Array = pc.binary_join_element_wise(table["task"], table["id"], "/").combine_chunks()
    return names


def _outcome(
    models: Sequence[str], tables: Sequence[pa.Table], scorer: str, better: str | None
) -> ItemOutcome:
    """Return what the models are judged by: the letter that each answered, right or wrong, or a number."""
    if better not in (None, "higher", "lower"):
        raise UserError(f"`better=` is higher or lower, not {better!r}.")
    texts = [t["value"].to_pylist() for t in tables]
    names = _sample_names(tables[0])
    numbers = [_credits(m, v, names, scorer) for m, v in zip(models, texts, strict=True)]
    if all(v in CREDIT for of_model in texts for v in of_model):
        letters = _letters(models, tables, numbers, scorer)
        if letters is not None:
            return letters
        unanswered = sum(v == "N" for of_model in texts for v in of_model)
        notes = (
            [f"{unanswered:,} answers have the score N, no answer, and count as wrong."] if unanswered else []
        )
        if any(v == "P" for of_model in texts for v in of_model):
            outcome = number_outcome(models, numbers, scorer, higher=True)
            notes.append(
                f"The scores of {scorer} are numbers: 1 for C, 0.5 for P (partly correct), 0 for I and N."
            )
        else:
            outcome = right_or_wrong(models, [n == 1 for n in numbers])
        for note in notes:
            outcome = outcome.with_note(note)
        return outcome
    if better is None:
        raise UserError(
            f"the scores of {scorer} are numbers, and the logs do not say whether higher is better; say so with "
            "`better='higher'` or `better='lower'`."
        )
    if all(np.isin(n, (0.0, 1.0)).all() for n in numbers):
        return right_or_wrong(models, [(n == 1) == (better == "higher") for n in numbers])
    return number_outcome(models, numbers, scorer, higher=better == "higher")


def _credits(model: str, values: Sequence[str], items: Any, scorer: str) -> np.ndarray:
    """Return scores as numbers. Raises UserError for one that is none, such as a list, naming the first sample."""
    unique = {v: _credit(v) for v in dict.fromkeys(values)}
    numbers = np.array([unique[v] for v in values], dtype=float)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        first = int(bad[0])
        raise UserError(
            f"{model}: the score of {scorer} is not a number in {len(bad):,} of {len(values):,} samples, first "
            f"{values[first][:40]!r} in {items[first].as_py()}; choose another scorer, or evaluate these samples again."
        )
    return numbers


def _credit(text: str) -> float:
    if text in CREDIT:
        return CREDIT[text]
    if text in ("true", "false"):
        return float(text == "true")
    try:
        return float(text)
    except ValueError:
        return math.nan


def _letters(
    models: Sequence[str], tables: Sequence[pa.Table], numbers: Sequence[np.ndarray], scorer: str
) -> ItemOutcome | None:
    """Return the letters that models answered, where every target is one and letters and scores agree; else None."""
    targets = tables[0]["target"].to_pylist()
    if len(set(targets)) < 2 or not set(targets) <= _LETTERS:
        return None
    answers = [
        [a.strip() if a is not None and a.strip() in _LETTERS else _NONE for a in t["answer"].to_pylist()]
        for t in tables
    ]
    label = np.array(targets)
    if any(((np.array(a) == label) != (n == 1)).any() for a, n in zip(answers, numbers, strict=True)):
        return None
    names = sorted({*targets, *(letter for a in answers for letter in a)} - {_NONE})
    classes = [*names, *([_NONE] if any(_NONE in a for a in answers) else [])]
    index = {name: i for i, name in enumerate(classes)}
    note = (
        f"The class is the letter that a model answered, which agrees with {scorer} in every sample of every model"
        + (f"; an answer without a letter is the class {_NONE!r}." if _NONE in index else ".")
    )
    return class_outcome(
        models,
        classes,
        np.array([index[t] for t in targets]),
        [np.array([index[x] for x in a]) for a in answers],
        note,
    )
