"""Olive: a custom metric by the worst group for its evaluators."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fairpress.integrations.guard import Guard
from fairpress.integrations.model_outputs import Call, outputs_of

METRIC = "group_score"


def evaluate_func(
    guard: Guard, batches: Iterable[Any], call: Call | None = None
) -> Callable[..., dict[str, float]]:
    """Return the ``evaluate_func`` of a custom metric: Olive's model to ``{"group_score": score, "group_loss_bound": X}``.

    Name the result in the user script that the metric points to. As a goal, ``{"type": "max-degradation", "value":
    guard.tolerance}`` of ``group_score`` (higher is better) rules out a loss above the margin for every assessed group of
    the loop's rows.

    Parameters
    ----------
    batches
        The inputs of the loop's rows in their order, which can be iterated again.
    call
        How to run the session that the model prepares on a batch (`model_outputs.outputs_of`).
    """

    def evaluate(
        model: Any, device: Any = "cpu", execution_providers: Any = None, **_: Any
    ) -> dict[str, float]:
        session = model.prepare_session(device=device, execution_providers=execution_providers)
        # Olive wraps the session of ONNX Runtime.
        session = getattr(session, "session", session)
        bound = guard.worst(outputs_of(session, batches, call)).upper
        return {METRIC: 1 - bound, "group_loss_bound": bound}

    return evaluate
