"""NNCF: ``quantize_with_accuracy_control`` by the worst group instead of the mean accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fairpress.integrations.decided_classes import as_array
from fairpress.integrations.guard import Guard
from fairpress.integrations.model_outputs import Call, outputs_of

ValidationFn = Callable[[Any, Iterable[Any]], tuple[float | None, list[list[Any]]]]


def validation_fn(guard: Guard, call: Call | None = None) -> ValidationFn:
    """Return the ``validation_fn`` of NNCF: a model and the validation items to the guard's score.

    Use it with ``max_drop=guard.tolerance, drop_type=nncf.DropType.ABSOLUTE``: NNCF then reverts operators to float until a
    loss above the margin is ruled out for every assessed group of the loop's rows. The validation dataset has to hold the
    rows of the loop in their order.

    For each item it also returns the model's outputs, by whose change NNCF ranks operators, and for a single item of several
    (by which NNCF tries the function) no score.

    Parameters
    ----------
    call
        How to run the model on an item (`model_outputs.outputs_of`).
    """

    def validate(model: Any, items: Iterable[Any]) -> tuple[float | None, list[list[Any]]]:
        outputs = [as_array(x) for x in outputs_of(model, items, call)]
        per_item = [[x] for x in outputs]
        if len(outputs) == 1 and len(outputs[0]) < len(guard.labels):
            return None, per_item
        return guard.score(outputs), per_item

    return validate
