"""`FairQuantizer`: one width, limits on groups, fit in a line."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairpress.core.errors import UserError
from fairpress.searching.limits import limits_of

if TYPE_CHECKING:
    from fairpress.audits import AuditReport
    from fairpress.datasets.dataset import Dataset
    from fairpress.runtime.artifact import Artifact
    from fairpress.runtime.model_reference import Model
    from fairpress.searching.result import SearchTrace


class FairQuantizer:
    """Quantize a model to a width so that limits on groups are shown to be kept, or refuse.

    ``FairQuantizer(bits=8, max_group_loss=0.02, by=["sex", "race"]).quantize(base, data)`` tries the ways there are to make
    a file of that width, and returns the smallest that is shown to keep every limit on rows that chose nothing. Arguments
    are kept as they are and checked by `quantize`, which sets the attributes below, as scikit-learn's `fit` does.

    Parameters
    ----------
    bits
        8, 4 or 2.
    by
        Sensitive attributes and intersections: ``["sex", "race", "sex*race"]``.
    train
        Whether quantization-aware training may be tried where rounding alone is not enough.
    budget
        A time, ``"5min"``, or a number of candidates; None tries all there are.
    confidence, least_rows
        Of the bounds; rows a group must have to be judged (`searching.asked.least_rows_for`).
    store
        Where candidates and openings of the judging rows are kept, to go on from; a folder that is deleted afterwards where
        none is named: then nobody counts how often the rows were opened.
    **limits
        ``max_group_loss=0.02``, ``max_dp_gap=0.05`` …: `searching.limits.Limits`.

    Attributes
    ----------
    artifact, recipe
        The winner.
    audit
        Its audit on the test rows, which were opened for it alone.
    searched
        All candidates, what judged them, and why the winner won.
    """

    def __init__(
        self,
        bits: int = 8,
        *,
        by: Sequence[str],
        train: bool = True,
        budget: str | int | None = None,
        confidence: float = 0.95,
        least_rows: int | None = None,
        store: str | os.PathLike[str] | None = None,
        **limits: Any,
    ) -> None:
        self.bits, self.by, self.train, self.budget = bits, by, train, budget
        self.confidence, self.least_rows, self.store, self.limits = confidence, least_rows, store, limits
        self.artifact: Artifact | None = None
        self.recipe: str | None = None
        self._audit: AuditReport | None = None
        self._searched: SearchTrace | None = None

    def quantize(
        self,
        base: Model,
        data: Dataset | str | None = None,
        *,
        seed: int | None = None,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> Artifact:
        """Return the artifact.

        Parameters
        ----------
        base
            The model folder or artifact of the baseline, with its float weights.
        data
            A dataset or its name, found from the card if not given.

        Raises
        ------
        ConstraintNotMet
            No file of this width is shown to keep every limit; it carries the nearest candidate and what binds.
        UserError
            A limit, attribute or width is unknown, or there are no rows to judge by.
        """
        from fairpress.runtime.model_reference import data_for, open_model
        from fairpress.searching.budget import parse_budget
        from fairpress.searching.search import search
        from fairpress.searching.search_space import WIDTHS

        if self.bits not in WIDTHS:
            raise UserError(f"files of {self.bits} bits cannot be made; take 8, 4 or 2.")
        limits, budget = limits_of(self.limits), parse_budget(self.budget)
        by = [self.by] if isinstance(self.by, str) else list(self.by)
        artifact = open_model(base)
        dataset = data_for(artifact, data)
        with tempfile.TemporaryDirectory(prefix="fairpress-search-") as scratch:
            found = search(
                artifact,
                dataset,
                by=by,
                limits=limits,
                store=Path(scratch if self.store is None else self.store),
                budget=budget,
                bits=self.bits,
                train=self.train,
                confidence=self.confidence,
                least_rows=self.least_rows,
                seed=seed,
                say=say,
            )
        self.artifact, self.recipe = found.artifact, found.recipe
        self._audit, self._searched = found.audit, found.searched
        return found.artifact

    @property
    def audit(self) -> AuditReport:
        """The audit of the winner on the test rows. Raises UserError before `quantize`."""
        if self._audit is None:
            raise UserError("nothing was quantized yet: call quantize(base, data) first.")
        return self._audit

    @property
    def searched(self) -> SearchTrace:
        """Everything the search did. Raises UserError before `quantize`."""
        if self._searched is None:
            raise UserError("nothing was quantized yet: call quantize(base, data) first.")
        return self._searched

    def _gap(self, metric: str) -> float | None:
        """Return the largest gap of the winner on the test rows over all of `by`, None where it cannot be estimated."""
        found = [
            f.estimate.value
            for f in self.audit.fairness
            if f.model == "compressed" and f.metric == metric and f.estimate.value is not None
        ]
        return max(found, default=None)

    @property
    def final_dp_gap(self) -> float | None:
        """Largest difference in selection rate between two groups of an attribute, on test rows; `audit` has intervals."""
        return self._gap("demographic_parity_difference")

    @property
    def final_eo_gap(self) -> float | None:
        """The same of the true positive rate."""
        return self._gap("equal_opportunity_difference")

    @property
    def final_eodds_gap(self) -> float | None:
        """The same of the true and the false positive rate, whichever is larger."""
        return self._gap("equalized_odds_difference")
