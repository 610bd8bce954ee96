"""How far a changed network's outputs are from the original's, without labels: a divergence of every row, in nats."""

from __future__ import annotations

from torch import Tensor, nn

from fairpress.core.output_kind import OutputKind


def output_divergence(changed: Tensor, expected: Tensor, kind: OutputKind) -> Tensor:
    """Return the Kullback-Leibler divergence of every row [rows], in nats, from the outputs of two networks [rows, width].

    Of classes, KL of their probabilities; of several labels, the sum of that of every label. Numbers and embeddings are
    taken as means of normal distributions with the variance of the original's outputs over the rows: half of the squared
    difference in units of it, averaged over the outputs.
    """
    changed, expected = changed.double(), expected.double()
    if kind == "classes":
        return nn.functional.kl_div(
            changed.log_softmax(-1), expected.log_softmax(-1), reduction="none", log_target=True
        ).sum(-1)
    if kind == "labels":
        present = expected.sigmoid()
        return (
            present * (nn.functional.logsigmoid(expected) - nn.functional.logsigmoid(changed))
            + (1 - present) * (nn.functional.logsigmoid(-expected) - nn.functional.logsigmoid(-changed))
        ).sum(-1)
    return (changed - expected).square().mean(-1) / (2 * output_variance(expected))


def output_variance(outputs: Tensor) -> Tensor:
    """Return the variance of outputs [rows, width] over the rows, averaged over the outputs; at least 1e-12."""
    return outputs.double().var(0, correction=0).mean().clamp_min(1e-12)
