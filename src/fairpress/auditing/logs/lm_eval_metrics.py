"""Which metric and which filter of a log of lm-evaluation-harness an audit is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairpress.core.errors import UserError, did_you_mean, listed

OBVIOUS = "acc"
"""The metric of multiple choice where a log has several."""
HIGHER = frozenset(("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "em"))
"""Metrics that are better where they are higher, whatever a log records."""
PERPLEXITIES = frozenset(("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"))
"""Metrics that are computed over all items from the log-likelihood of each, which the log records."""
OVER_ALL_ITEMS = frozenset(("f1", "mcc", "brier_score", "likelihood", "bleu", "chrf", "ter"))
"""Metrics that are computed over all items, where a log has a pair or a list for each."""
_OTHER_KEYS = frozenset(
    (
        *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"),
        *("doc_hash", "prompt_hash", "target_hash"),
    )
)


def metrics_of(sample: Mapping[str, Any]) -> list[str]:
    """Return the metrics that a line of a log records; older logs do not list them."""
    recorded = sample.get("metrics")
    if isinstance(recorded, list) and recorded and all(isinstance(name, str) for name in recorded):
        return [name for name in recorded if name in sample]
    return [k for k, v in sample.items() if k not in _OTHER_KEYS and isinstance(v, (bool, int, float, list))]


def choose_metric(by_task: Mapping[str, Sequence[str]], metric: str | None) -> str:
    """Return the metric to audit.

    Parameters
    ----------
    by_task
        Task → the metrics that every model's log has.
    metric
        The metric that the user named.

    Raises
    ------
    UserError
        The metric is not in the log of every task, or there are several and none is obvious.
    """
    common = [m for m in next(iter(by_task.values())) if all(m in names for names in by_task.values())]
    every = sorted({m for names in by_task.values() for m in names})
    if metric is not None:
        lacking = [task for task, names in by_task.items() if metric not in names]
        if metric not in every:
            raise UserError(f"the logs have no metric {metric!r}." + did_you_mean(metric, every))
        if lacking:
            raise UserError(
                f"the metric {metric!r} is not in the logs of {listed(lacking, 4)}; audit the other tasks with `tasks=`, or "
                f"choose another metric{_of(common)}."
            )
        return metric
    if not common:
        described = "; ".join(f"{t}: {', '.join(n) or 'none'}" for t, n in list(by_task.items())[:5])
        raise UserError(
            f"no metric is in the logs of all tasks ({described}); audit tasks that have one in common, with `tasks=`."
        )
    if OBVIOUS in common or len(common) == 1:
        return OBVIOUS if OBVIOUS in common else common[0]
    raise UserError(
        f"the logs have the metrics {', '.join(common)}; choose one, such as `metric={common[0]!r}`."
    )


def _of(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if names else ""


def choose_filters(by_task: Mapping[str, Sequence[str]], chosen: str | None) -> dict[str, str]:
    """Return the filter of each task. Raises UserError where a task has several and none was chosen, or lacks the chosen."""
    filters = {}
    for task, names in by_task.items():
        if chosen is None and len(names) > 1:
            raise UserError(
                f"the answers of {task} were filtered in {len(names)} ways ({', '.join(names)}), each with a score; choose "
                f"one, such as `filter={names[0]!r}`."
            )
        if chosen is not None and chosen not in names and len(names) > 1:
            raise UserError(f"the log of {task} has no filter {chosen!r}." + did_you_mean(chosen, names))
        filters[task] = chosen if chosen is not None and chosen in names else names[0]
    if chosen is not None and chosen not in filters.values():
        every = sorted({n for names in by_task.values() for n in names})
        raise UserError(f"the logs have no filter {chosen!r}." + did_you_mean(chosen, every))
    return filters
