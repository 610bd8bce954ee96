"""`FairQuantizer`: quantization to one bit width under limits on groups."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage, ignore_message
from fairpress.core.public_function import public_function
from fairpress.searching.limits import limits_of

if TYPE_CHECKING:
    from fairpress.datasets.dataset import Dataset
    from fairpress.reporting.audit_report import AuditReport
    from fairpress.runtime.artifact import Artifact
    from fairpress.runtime.model_reference import Model
    from fairpress.searching.result import SearchTrace


class FairQuantizer:
    """Quantize a model to a bit width so that limits on groups are demonstrated to hold, or raise `ConstraintNotMet`.

    ``FairQuantizer(bits=8, max_group_loss=0.02, by=["sex", "race"]).quantize(base, data)`` tries the recipes for
    this bit width and returns the smallest artifact that is demonstrated, on held-out rows, to keep every limit. As in
    scikit-learn, arguments are stored unchanged; `quantize` checks them and sets the attributes below.

    Parameters
    ----------
    bits
        8, 4, 3 or 2.
    by
        Sensitive attributes and intersections: ``["sex", "race", "sex*race"]``.
    train
        Whether quantization-aware training may be tried if post-training quantization does not suffice.
    budget
        A time, ``"5min"``, or a number of candidates; None tries all recipes.
    confidence, least_rows
        Confidence of the bounds; rows that a group needs to be judged (default: `eligible_groups.min_rows_for`).
    store
        Folder with candidates and openings of the judging rows, which a later search resumes from. By default a temporary
        folder: openings are then not counted across searches.
    **limits
        ``max_group_loss=0.02``, ``max_dp_gap=0.05`` …: `searching.limits.Limits`.

    Attributes
    ----------
    artifact, recipe
        The winner.
    audit
        Audit of the winner on the test rows, which were evaluated for it alone.
    searched
        All candidates, the tests on the judging rows, and why the winner won.
    """

    @public_function
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
        on_message: OnMessage = ignore_message,
    ) -> Artifact:
        """Return the smallest artifact that keeps every limit.

        Parameters
        ----------
        base
            The model folder or artifact of the baseline, with its float weights.
        data
            A dataset or its name; by default the dataset that the card names.

        Raises
        ------
        ConstraintNotMet
            No artifact of this bit width is demonstrated to keep every limit; the error has the nearest candidate and the
            binding limit.
        UserError
            A limit, attribute or width is unknown, or there are no rows to judge by.
        """
        from fairpress.runtime.model_reference import data_for, open_model
        from fairpress.searching.budget import parse_budget
        from fairpress.searching.search import search
        from fairpress.searching.search_space import BIT_WIDTHS

        if self.bits not in BIT_WIDTHS:
            raise UserError(f"files of {self.bits} bits are not supported; use `bits=` 8, 4, 3 or 2.")
        limits, budget = limits_of(self.limits), parse_budget(self.budget)
        by = [self.by] if isinstance(self.by, str) else list(self.by)
        artifact = open_model(base)
        dataset = data_for(artifact, data)
        with tempfile.TemporaryDirectory(prefix="fairpress-search-") as scratch:
            result = search(
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
                on_message=on_message,
            )
        self.artifact, self.recipe = result.artifact, result.recipe
        self._audit, self._searched = result.audit, result.searched
        return result.artifact

    @property
    def audit(self) -> AuditReport:
        """The audit of the winner on the test rows. Raises UserError before `quantize`."""
        if self._audit is None:
            raise UserError("no model has been quantized yet; call quantize(base, data) first.")
        return self._audit

    @property
    def searched(self) -> SearchTrace:
        """The complete search. Raises UserError before `quantize`."""
        if self._searched is None:
            raise UserError("no model has been quantized yet; call quantize(base, data) first.")
        return self._searched

    def _gap(self, metric: str) -> float | None:
        """Return the largest gap of the winner on the test rows over all attributes; None if it cannot be estimated."""
        gaps = [
            f.estimate.value
            for f in self.audit.fairness
            if f.model == "compressed" and f.metric == metric and f.estimate.value is not None
        ]
        return max(gaps, default=None)

    @property
    def final_dp_gap(self) -> float | None:
        """Largest difference in selection rate between two groups of an attribute, on test rows; `audit` has intervals."""
        return self._gap("demographic_parity_difference")

    @property
    def final_eo_gap(self) -> float | None:
        """Largest difference in true positive rate between two groups of an attribute, on test rows."""
        return self._gap("equal_opportunity_difference")

    @property
    def final_eodds_gap(self) -> float | None:
        """Largest difference in true or false positive rate between two groups of an attribute, on test rows."""
        return self._gap("equalized_odds_difference")
