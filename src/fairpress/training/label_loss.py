"""The loss of labels by what a network predicts: cross-entropy, squared error, or binary cross-entropy per label."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from fairpress.core.output_kind import OutputKind


def label_loss(
    outputs: Tensor, labels: Tensor, kind: OutputKind, reduction: Literal["mean", "sum", "none"] = "mean"
) -> Tensor:
    """Return the loss of rows: [rows] for ``"none"``, else their mean or sum.

    Parameters
    ----------
    outputs
        A network's outputs [rows, width]: logits of classes or of labels, or one number.
    labels
        Class indices [rows] int64; numbers [rows]; 0 or 1 [rows, labels].
    kind
        Of classes the cross-entropy; of a number the squared error; of several labels the mean over the labels of the
        binary cross-entropy. An embedding has no labels.
    """
    if kind == "classes":
        return nn.functional.cross_entropy(outputs, labels, reduction=reduction)
    if kind == "number":
        return nn.functional.mse_loss(outputs.flatten(), labels.to(outputs).flatten(), reduction=reduction)
    if kind == "labels":
        rows = nn.functional.binary_cross_entropy_with_logits(
            outputs, labels.to(outputs), reduction="none"
        ).mean(-1)
        return rows if reduction == "none" else rows.mean() if reduction == "mean" else rows.sum()
    raise TypeError("embeddings have no labels to train on")
