"""Compress a model by several recipes, and audit the results together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairpress.api.audits import audit
from fairpress.api.models import compress
from fairpress.api.opening import open_base, open_huggingface
from fairpress.api.running import predict
from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.core.public_function import public_function
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.model_reference import Model, is_huggingface, open_model

if TYPE_CHECKING:
    from fairpress.reporting.comparison_table import ComparisonTable


@public_function
def compare(
    base: Model,
    recipes: str | Sequence[str] | Mapping[str, str | Model],
    *,
    data: Dataset | str | None = None,
    by: Sequence[str] | str,
    positive: str | None = None,
    margin: float = 0.02,
    confidence: float = 0.95,
    seed: int | None = None,
    placebos: bool = True,
    runtime: str = "onnxruntime",
    on_message: OnMessage | None = None,
) -> ComparisonTable:
    """Compress a model by several recipes, run all models on the test rows, audit them, and return one table.

    Parameters
    ----------
    base
        A model folder or artifact with its float weights; or a Hugging Face folder, with `data`.
    recipes
        Recipes; or a mapping from names to recipes, artifacts or model folders.
    data
        A dataset or its name; by default that of the card.
    by, positive, margin, confidence
        As in `audit`.
    placebos
        Whether to add the placebo of each recipe that fine-tunes: the same fine-tuning without compression.
    runtime
        The runtime of all models.

    Raises
    ------
    UserError
        A recipe is invalid, two models have the same name, or the data does not fit.
    """
    from fairpress.compression.recipes import parse
    from fairpress.reporting.comparison_table import ComparisonTable

    if isinstance(recipes, str):
        recipes = [recipes]
    named = dict(recipes) if isinstance(recipes, Mapping) else {str(parse(r)): r for r in recipes}
    if not named:
        raise UserError("name at least one recipe, such as `recipes=['int8']`.")
    origin, dataset = open_base(base, data)
    first = str(origin.card.recipe)
    texts = {name: parse(r) for name, r in named.items() if isinstance(r, str) and not Path(r).is_dir()}
    unchanged = [n for n, r in texts.items() if not r.steps]
    if first in named or unchanged:
        raise UserError(
            f"{(unchanged or [first])[0]!r} is the baseline, which is always in the table; leave it out of `recipes=`."
        )
    if placebos:
        controls = {str(p): p for r in texts.values() if (p := r.placebo()) is not None}
        texts |= {name: p for name, p in controls.items() if name not in named}
    models: dict[str, Artifact] = {first: origin}
    for name in (*named, *(n for n in texts if n not in named)):
        if name in texts:
            if on_message is not None:
                on_message(f"{name}:")
            models[name] = compress(origin, str(texts[name]), data=dataset, seed=seed, on_message=on_message)
        else:
            other = named[name]
            models[name] = open_huggingface(other, dataset) if is_huggingface(other) else open_model(other)
    table = predict(models, dataset, runtime=runtime)
    report = audit(
        table,
        baseline=first,
        by=by,
        positive=positive or dataset.task.positive,
        margin=margin,
        confidence=confidence,
    )
    return ComparisonTable(report, {name: artifact.size for name, artifact in models.items()})
