"""MLflow: a metric of ``mlflow.models.evaluate`` by the worst group."""

from __future__ import annotations

from typing import Any

from fairpress.core.errors import MissingExtra
from fairpress.integrations.guard import Guard


def metric(guard: Guard) -> Any:
    """Return the metric ``group_score`` for ``mlflow.models.evaluate(…, extra_metrics=[metric(guard)])``.

    The data has to hold the loop's rows in their order; predictions are classes or scores of every class. Logged is
    ``group_score``, higher is better. With ``MetricThreshold(threshold=1 - guard.margin, greater_is_better=True)``,
    ``mlflow.validate_evaluation_results`` refuses a model unless a loss above the margin is ruled out for every assessed
    group of these rows.

    Raises
    ------
    MissingExtra
        MLflow is not installed with its models and metrics (``python -m pip install mlflow``).
    UserError
        While evaluating: the targets are not the labels of the loop's rows in their order.
    """
    try:
        from mlflow.metrics import MetricValue, make_metric
    except ImportError:
        raise MissingExtra("The metric of MLflow", "mlflow") from None

    def group_score(predictions: Any, targets: Any = None, metrics: Any = None) -> Any:
        if (
            len(predictions) == 1 < len(guard.labels)
        ):  # MLflow tries a metric on the first row, and takes None
            return None
        if targets is not None:
            guard.check_labels(targets)
        return MetricValue(aggregate_results={"group_score": guard.score(predictions)})

    return make_metric(eval_fn=group_score, greater_is_better=True, name="group_score")
