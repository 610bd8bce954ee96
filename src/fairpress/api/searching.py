"""Search for the best artifact within limits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fairpress.api.opening import open_base
from fairpress.core.progress import OnMessage, ignore_message
from fairpress.core.public_function import public_function
from fairpress.core.seeds import checked_seed
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.model_reference import Model
from fairpress.training.threads import use_threads

if TYPE_CHECKING:
    from fairpress.searching.limits import Objective
    from fairpress.searching.result import SearchResult


@public_function
def search(
    base: Model,
    data: Dataset | str | None = None,
    *,
    by: Sequence[str],
    objective: Objective = "bytes",
    budget: str | int | None = "10min",
    recipes: Sequence[str] = (),
    train: bool = True,
    confidence: float = 0.95,
    least_rows: int | None = None,
    store: str | os.PathLike[str] = ".store",
    seed: int | None = None,
    threads: int | None = None,
    on_message: OnMessage = ignore_message,
    **limits: float | None,
) -> SearchResult:
    """Return the best artifact that demonstrably meets every limit on held-out rows; see `searching.search.search`.

    Parameters
    ----------
    base
        The model folder or artifact of the baseline, with its float weights; or a Hugging Face folder, with `data`.
    data
        A dataset or its name; by default that of the card.
    budget
        A time, such as ``"30min"``, or a number of candidates; None tries only the listed candidates, without sampling.
    recipes
        Additional candidates, tried first.
    store
        Folder in which candidates are kept; the same call resumes from them.
    threads
        Threads within an operator while candidates are made; by default as many as torch uses, one for each core. The cards
        record it. Predictions are made with one.
    **limits
        ``max_group_loss=0.02``, ``max_dp_gap=0.05`` …: `searching.limits.Limits`.

    Raises
    ------
    ConstraintNotMet
        No candidate demonstrably meets every limit.
    UserError
        A limit or group is unknown, there are no validation rows, or the budget is too short.
    """
    from fairpress.searching.budget import parse_budget
    from fairpress.searching.limits import limits_of
    from fairpress.searching.search import search as run

    parsed_limits, parsed_budget = limits_of(limits), parse_budget(budget)
    if seed is not None:
        checked_seed(seed)
    artifact, dataset = open_base(base, data)
    with use_threads(threads):
        return run(
            artifact,
            dataset,
            by=[by] if isinstance(by, str) else by,
            limits=parsed_limits,
            store=Path(store),
            objective=objective,
            budget=parsed_budget,
            train=train,
            recipes=recipes,
            confidence=confidence,
            least_rows=least_rows,
            seed=seed,
            on_message=on_message,
        )
