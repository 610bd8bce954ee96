"""Hugging Face ``Trainer``: checkpoints chosen by the worst group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fairpress.integrations.decided_classes import as_array
from fairpress.integrations.guard import Guard


def compute_metrics(guard: Guard) -> Callable[[Any], dict[str, float]]:
    """Return the ``compute_metrics`` of a ``Trainer`` whose ``eval_dataset`` holds the loop's rows in their order.

    It returns ``group_score`` (the guard's score), ``group_loss_bound`` (X) and ``accuracy``. With ``TrainingArguments(…,
    metric_for_best_model="group_score", greater_is_better=True, load_best_model_at_end=True)`` the checkpoint is kept in
    which the worst group is bounded best; transformers' ``EarlyStoppingCallback`` stops by it, too.

    Raises UserError where the labels of the evaluation are not those of the loop's rows in their order.
    """

    def compute(evaluated: Any) -> dict[str, float]:
        predictions, labels = evaluated.predictions, evaluated.label_ids
        if labels is not None:
            guard.check_labels(labels)
        worst = guard.worst(predictions)
        metrics = {"group_score": 1 - worst.upper, "group_loss_bound": worst.upper}
        if labels is not None:
            scores = as_array(predictions)
            decided = scores.argmax(axis=1) if scores.ndim == 2 else scores
            metrics["accuracy"] = float((decided == as_array(labels)).mean())
        return metrics

    return compute
