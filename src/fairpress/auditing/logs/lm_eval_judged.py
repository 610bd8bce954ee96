"""What the models of logs of lm-evaluation-harness are judged by, and in which direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fairpress.auditing.logs.choices import NORMALIZED, Choices, chosen_answers
from fairpress.auditing.logs.item_outcomes import ItemOutcome, class_outcome, log_likelihoods, recorded_values
from fairpress.auditing.logs.lm_eval_files import ModelFiles, TaskFile
from fairpress.auditing.logs.lm_eval_metrics import HIGHER, OVER_ALL_ITEMS, PERPLEXITIES
from fairpress.auditing.logs.lm_eval_samples import item_names
from fairpress.core.errors import UserError, listed

if TYPE_CHECKING:
    import pyarrow as pa

_UNIT = {"word_perplexity": "words", "byte_perplexity": "bytes", "bits_per_byte": "bytes"}


def judged_by(
    files: Sequence[ModelFiles],
    tables: Sequence[pa.Table],
    metric: str,
    better: str | None,
    with_choices: bool,
) -> ItemOutcome:
    """Return what the models are judged by: the answer that each chose, right or wrong, or a number."""
    names = [of_model.model for of_model in files]
    values = [table["value"] for table in tables]
    items = item_names(tables[0])
    if metric in PERPLEXITIES:
        return log_likelihoods(names, values, items, metric, _UNIT.get(metric, ""))
    higher = _direction(files, metric, better)
    if metric in OVER_ALL_ITEMS:
        raise UserError(
            f"{metric} is computed over all items, and the log has no value of it for each; choose another metric."
        )
    outcome = recorded_values(names, values, items, metric, higher=higher)
    if with_choices and metric in NORMALIZED and outcome.right is None:
        raise UserError(
            f"{metric} has other values than 0 and 1, although these are logs of multiple choice; are they damaged?"
        )
    if not with_choices or outcome.right is None or outcome.rows is not None:
        return outcome
    choices = _choices(files[0].tasks, tables, outcome, metric)
    if choices is None or len(np.unique(choices.label)) < 2:
        reason = (
            f"The answers are audited as right or wrong: which one a model chose does not follow from the log in the way in "
            f"which {metric} was computed."
        )
        return outcome.with_note(reason)
    return class_outcome(
        names, choices.names, choices.label, choices.predicted, _choice_note(choices, metric)
    )


def _choices(
    files: Sequence[TaskFile], tables: Sequence[pa.Table], outcome: ItemOutcome, metric: str
) -> Choices | None:
    delimiters = {f.config().get("target_delimiter") for f in files}
    delimiter = next(iter(delimiters)) if len(delimiters) == 1 else None
    task = tables[0]["task"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return chosen_answers(
        [table["answers"].combine_chunks() for table in tables],
        tables[0]["choices"].combine_chunks(),
        tables[0]["target"].combine_chunks(),
        outcome.right or (),
        np.asarray(task),
        metric,
        delimiter if isinstance(delimiter, str) else None,
    )


def _choice_note(choices: Choices, metric: str) -> str:
    by = {
        "acc": "the largest log-likelihood",
        "acc_norm": "the largest log-likelihood per character",
        "acc_bytes": "the largest log-likelihood per byte",
    }[metric]
    names = (
        f"answers {listed(list(choices.names), 6)}"
        if choices.same_texts
        else "positions of the answers, whose texts differ between items"
    )
    return (
        f"The class is the answer with {by}, which agrees with {metric} in every item of every model; "
        f"classes are the {names}."
    )


def _direction(files: Sequence[ModelFiles], metric: str, better: str | None) -> bool:
    """Return whether a metric is better where it is higher. Raises UserError where nothing says it."""
    if better is not None:
        if better not in ("higher", "lower"):
            raise UserError(f"`better=` is higher or lower, not {better!r}.")
        return better == "higher"
    if metric in HIGHER:
        return True
    recorded = {f.higher_is_better(metric) for of_model in files for f in of_model.tasks}
    if len(recorded) != 1 or None in recorded:
        raise UserError(
            f"the logs do not say whether {metric} is better where it is higher or lower; say so with `better='higher'` or "
            "`better='lower'`."
        )
    return recorded.pop() is True
