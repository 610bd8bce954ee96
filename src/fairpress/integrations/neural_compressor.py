"""Intel Neural Compressor: ``autotune`` by the worst group instead of the mean accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fairpress.integrations.guard import Guard
from fairpress.integrations.model_outputs import Call, outputs_of


def eval_fn(guard: Guard, batches: Iterable[Any], call: Call | None = None) -> Callable[[Any], float]:
    """Return the ``eval_fn`` of ``autotune``: a model to the guard's score.

    Use it with ``TuningConfig(…, tolerable_loss=guard.relative_tolerance)``: the first configuration for which a loss above
    the margin is ruled out for every assessed group of the loop's rows is taken.

    Parameters
    ----------
    batches
        The inputs of the loop's rows in their order, which can be iterated again, such as a loader that does not shuffle.
    call
        How to run the model on a batch (`model_outputs.outputs_of`).
    """

    def evaluate(model: Any) -> float:
        return guard.score(outputs_of(model, batches, call))

    return evaluate
