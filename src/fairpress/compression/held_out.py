"""What a finished file does on held-out rows: accuracy and changes, by what the network predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.core.output_kind import OutputKind
from fairpress.runtime.decision_rule import label_probabilities, labels_present

if TYPE_CHECKING:
    from fairpress.core.card import ModelCard

LOW_SIMILARITY = 0.05  # the quantile of the cosine similarities that is reported


def value_facts(
    outputs: np.ndarray, before: np.ndarray, labels: np.ndarray, card: ModelCard
) -> dict[str, Any]:
    """Return the facts for the card on rows that were not trained on, for a network that predicts no classes.

    Parameters
    ----------
    outputs, before
        Outputs of the file and of the float network [rows, width].
    labels
        Numbers [rows], or 0 and 1 [rows, labels]; not read for embeddings.
    card
        Says what is predicted, and the threshold of each label.
    """
    kind, rows = card.output_kind, len(outputs)
    if kind == "number":
        change = np.abs(outputs[:, 0] - before[:, 0])
        return {
            "rows": rows,
            "mean_absolute_error": float(np.abs(outputs[:, 0] - labels).mean()),
            "mean_absolute_error_before": float(np.abs(before[:, 0] - labels).mean()),
            "mean_absolute_change": float(change.mean()),
            "largest_change": float(change.max()),
        }
    if kind == "labels":
        decided, earlier = (
            labels_present(label_probabilities(values), card.outputs["thresholds"])
            for values in (outputs, before)
        )
        return {
            "rows": rows,
            "wrong_labels": float((decided != (labels == 1)).mean()),
            "wrong_labels_before": float((earlier != (labels == 1)).mean()),
            "flips": dict(zip(card.outputs["names"], (decided != earlier).sum(0).tolist(), strict=True)),
        }
    similarity = cosine_similarity(outputs, before)
    return {
        "rows": rows,
        "cosine_similarity": {
            "mean": float(similarity.mean()),
            "deviation": float(similarity.std()),
            "low": float(np.quantile(similarity, LOW_SIMILARITY)),
            "smallest": float(similarity.min()),
        },
    }


def cosine_similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine of the angle between the vectors of two matrices [rows, length], row by row; 0 for a zero vector."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(1) / np.maximum(norms, np.finfo(np.float64).tiny))


def change_sentence(facts: Mapping[str, Any], kind: OutputKind) -> str:
    """Return what the file changes on held-out rows, as a sentence; "" for classes or without such rows."""
    if not facts.get("rows") or kind == "classes":
        return ""
    rows = f"{facts['rows']:,} validation row{'s' if facts['rows'] > 1 else ''}"
    if kind == "number":
        return (
            f"on {rows} the number changes by {facts['mean_absolute_change']:.3g} on average and by "
            f"{facts['largest_change']:.3g} at most; mean absolute error {facts['mean_absolute_error_before']:.4g} before, "
            f"{facts['mean_absolute_error']:.4g} after, in the unit of the labels"
        )
    if kind == "labels":
        flips = facts["flips"]
        most = max(flips, key=lambda name: flips[name])
        total = sum(flips.values())
        detail = f", most of {most!r} ({flips[most]:,})" if total and len(flips) > 1 else ""
        return (
            f"on {rows} {total:,} of {facts['rows'] * len(flips):,} labels change{detail}; wrong labels "
            f"{facts['wrong_labels_before']:.1%} before, {facts['wrong_labels']:.1%} after"
        )
    similarity = facts["cosine_similarity"]
    return (
        f"cosine similarity with the float network's embeddings on {rows}: {similarity['mean']:.4f} ± "
        f"{similarity['deviation']:.4f} (mean ± standard deviation), {similarity['low']:.4f} at the {LOW_SIMILARITY:.0%} "
        f"quantile, {similarity['smallest']:.4f} at the least"
    )


def value_symptom(
    facts: Mapping[str, Any], labels: np.ndarray, train_labels: np.ndarray, kind: OutputKind
) -> str | None:
    """Return how outputs on held-out rows are no better than constant ones, as the rest of a sentence; else None.

    Parameters
    ----------
    facts
        Those of `value_facts`.
    labels, train_labels
        Labels of the held-out rows, and of training rows, which determine the constant.
    """
    if kind == "number":
        constant = float(np.median(train_labels))
        error, level = facts["mean_absolute_error"], float(np.abs(labels - constant).mean())
        if level == 0 or error < level:
            return None
        return (
            f"has a mean absolute error on validation rows of {error:.4g}, and always answering {constant:.4g} "
            f"has {level:.4g}"
        )
    if kind == "labels":
        commonest = train_labels.mean(0) >= 0.5
        error, level = facts["wrong_labels"], float((labels.astype(bool) != commonest).mean())
        if level == 0 or error < level:
            return None
        return (
            f"has {error:.1%} of labels wrong on validation rows, and always answering the commoner value of each label has "
            f"{level:.1%}"
        )
    return None
