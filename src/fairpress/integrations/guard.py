"""`Guard`: the worst group's bound as the number of a loop, and other rows for the verdict on what the loop chose."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fairpress.auditing.options import options_of
from fairpress.auditing.verdicts.policy_option import policy_of
from fairpress.auditing.verdicts.wording import name_groups, points
from fairpress.auditing.worst_group import WorstGroup, worst_group
from fairpress.core.errors import UserError
from fairpress.core.public_function import public_function
from fairpress.integrations.decided_classes import decided_classes
from fairpress.integrations.guard_options import (
    ERRORS,
    absolute_margin,
    baseline_of,
    class_names,
    columns_used,
    fixed_by,
    joined,
    watched,
)
from fairpress.integrations.guarded_rows import GuardedRows, read_predictions, require_apart
from fairpress.integrations.held_out_verdict import HeldOutVerdict, judge_held_out

CANDIDATE = "fairpress.candidate"
ROUNDING = 1e-9


class Guard:
    """Guards every group in a loop that tunes, compresses or trains a model, and judges the result on other rows.

    A loop that maximizes accuracy, or accepts a drop of 1 %, may let one group lose. `score` gives it another number: one
    minus the loss that is not ruled out for the worst assessed group. What the loop then chooses was chosen by these rows,
    so it looks better than it is; `verdict` judges it on rows that no call of `score` reads.

    Parameters
    ----------
    loop_rows, verdict_rows
        Two tables with the label, the sensitive attributes, the baseline's predictions and a column that identifies people
        or rows, as `fairpress.predict` writes them: frames, or paths of Parquet or CSV files. Nobody may be in both.
    baseline
        The column of the baseline's predictions; by default the model that the tables record.
    by, margin, min_rows, confidence, harm, positive, bins, missing, policy
        As in `fairpress.audit`. The margin is absolute.
    watch
        The errors that the loop's number watches, of ``"error"``, ``"fnr"`` and ``"fpr"``; by default the one that decides
        (`harm`). Several have one margin.
    label
        Column of true classes.
    classes
        The classes in the order of a model's outputs; by default as recorded by `predict`, else 0 … K − 1.
    subject
        Column that identifies people, by default ``"subject"`` if there is one. If they have several rows, people are the
        unit of every interval.
    row_id
        Column that identifies rows, where there is no subject.
    ledger
        A ledger (`auditing.monitoring.record`) in which every verdict on these rows is recorded, so that the verdicts of all
        candidates keep the confidence together, unless one was changed after a verdict on these rows.

    Raises
    ------
    UserError
        A person or row is in both tables, a column is missing, or no group has enough rows in one of them.
    """

    @public_function
    def __init__(
        self,
        loop_rows: Any,
        verdict_rows: Any,
        *,
        by: Sequence[str] | str | None = None,
        baseline: str | None = None,
        margin: float | str | Mapping[str, Any] | None = None,
        min_rows: int | Mapping[str, int] | None = None,
        confidence: float = 0.95,
        harm: str = "error",
        watch: Sequence[str] | str = (),
        label: str | None = None,
        classes: Sequence[Any] | None = None,
        positive: str | float | None = None,
        bins: Mapping[str, Sequence[float]] | None = None,
        missing: str = "group",
        subject: str | None = None,
        row_id: str = "row_id",
        policy: Any = None,
        ledger: str | os.PathLike[str] | None = None,
    ) -> None:
        policy = policy_of(policy)
        fixed = fixed_by(policy)
        label, subject = label or fixed.get("label"), subject or fixed.get("subject")
        self._loop = GuardedRows.read(loop_rows, "rows of the loop", label)
        self._held_out = GuardedRows.read(verdict_rows, "rows of the verdict", label)
        self.baseline = baseline_of(baseline or fixed.get("baseline"), self._loop, self._held_out)
        if subject is not None:
            for rows in (self._loop, self._held_out):
                rows.require(subject)
        elif all("subject" in x.table.column_names for x in (self._loop, self._held_out)):
            subject = "subject"
        identified_by = require_apart(self._loop, self._held_out, subject, row_id)
        ids = [x.texts(identified_by) for x in (self._loop, self._held_out)]
        repeated = any(len(set(column)) < len(column) for column in ids)
        if repeated and identified_by != subject:
            raise UserError(
                f"{row_id!r} names several rows alike, so that rows cannot be told apart; number them, or name the column "
                "of people with `subject=`."
            )
        if repeated and ledger is not None:
            raise UserError(
                "a ledger needs rows that are independent, and people here have several; leave `ledger=` out, or give one "
                "row per person."
            )
        self._options = options_of(
            {
                "label": self._loop.label,
                "baseline": self.baseline,
                "compressed": None if "compressed" in fixed else [CANDIDATE],
                "by": by,
                "positive": positive,
                "margin": margin,
                "min_rows": min_rows,
                "confidence": confidence,
                "harm": harm,
                "bins": bins,
                "missing": missing,
                "subject": subject if repeated else None,
                "policy": policy,
            }
        ).with_changes(compressed=(CANDIDATE,))
        self._watch = watched(watch, self._options)
        self.margin = absolute_margin(self._options, self._watch)
        self._classes = class_names(classes, self._options.positive, self._loop, self._held_out)
        self._row_id = row_id
        self._ledger = None if ledger is None else Path(ledger)
        if ledger is not None and len(set(self._options.margin.values())) > 1:
            raise UserError("a ledger needs one margin for all errors, such as `margin=0.02`; give one.")
        self._identified_by = identified_by
        self._verdicts: dict[str, HeldOutVerdict] = {}
        used = columns_used(self._options, self._loop, self._held_out)
        # Scores of the baseline tell flips of answers that were close to call; other models of the table are of no use.
        scores = [c for c in self._held_out.table.column_names if c.startswith(f"{self.baseline}.score")]
        self._audited = self._held_out.select([*used, *scores, identified_by, row_id])
        self._lean_loop = self._loop.select(used)
        self.history: list[WorstGroup] = []
        """What every call of `score` and `worst` saw, in their order."""
        self.unchanged = self._worst_of(self._lean_loop, self._baseline_classes(self._loop))
        """The bound for a model that decides as the baseline: what the number of rows alone cannot rule out."""
        held_out = self._worst_of(self._held_out.select(used), self._baseline_classes(self._held_out))
        for worst, rows in ((self.unchanged, self._loop), (held_out, self._held_out)):
            if worst.upper >= self.margin:
                raise UserError(
                    f"even for an unchanged model a loss of {points(self.margin)} points is not ruled out by the "
                    f"{rows.whose} ({worst}); give more rows, a larger `margin=`, or leave `min_rows=` out."
                )

    @property
    def tolerance(self) -> float:
        """By how much `score` may fall below that of the baseline, so that a loss above the margin is ruled out.

        A tool measures the fall from the model with which it starts, which has to decide as the baseline does.
        """
        return self.margin - self.unchanged.upper - ROUNDING

    @property
    def relative_tolerance(self) -> float:
        """`tolerance` as a share of the baseline's score, for loops with relative criteria."""
        return self.tolerance / (1 - self.unchanged.upper)

    @property
    def labels(self) -> tuple[str, ...]:
        """The true classes of the loop's rows, in their order."""
        return tuple(self._loop.texts(self._loop.label))

    def worst(self, predicted: Any) -> WorstGroup:
        """Return the worst assessed group of a candidate on the loop's rows, with its bound.

        Parameters
        ----------
        predicted
            What the candidate returned for the rows of the loop, in the order of their table: names or positions of classes
            [rows], or scores of every class [rows, classes] (arrays, tensors, a list of batches); or a predictions table.

        Raises
        ------
        UserError
            There is not one prediction for each row, or a class is unknown.
        """
        decided = read_predictions(predicted, self._loop, self._classes, self._row_id).decided
        worst = self._worst_of(self._lean_loop, decided)
        self.history.append(worst)
        return worst

    def score(self, predicted: Any) -> float:
        """Return one minus the bound of the worst group, so that higher is better; `predicted` as in `worst`."""
        return 1 - self.worst(predicted).upper

    def check_labels(self, labels: Any) -> None:
        """Raise UserError unless these labels, which a tool hands over, are those of the loop's rows in their order."""
        given = decided_classes(labels, self._classes, len(self._loop), self._loop.whose)
        expected = decided_classes(
            self._loop.texts(self._loop.label), self._classes, len(self._loop), self._loop.whose
        )
        different = int((given != expected).sum())
        if different:
            raise UserError(
                f"{different:,} of {len(self._loop):,} labels are not those of the rows of the loop: the tool evaluates "
                "other rows, or in another order; give it the rows of the guard's first table, without shuffling."
            )

    def verdict(self, predicted: Any, *, name: str | None = None) -> HeldOutVerdict:
        """Judge a candidate on the rows of the verdict, which no number of the loop has read.

        The same candidate again is the same verdict. Every other candidate is one more look at these rows, which is counted
        and said; a `ledger` keeps the confidence for all of them together.

        Parameters
        ----------
        predicted
            What the candidate returned for the rows of the verdict, in the order of their table; forms as in `worst`.
        name
            What to call the candidate; by default the model of a predictions table, else a digest of its predictions.

        Raises
        ------
        UserError
            There is not one prediction for each row, a class is unknown, or a name was used for another candidate.
        """
        candidate = read_predictions(predicted, self._held_out, self._classes, self._row_id)
        digest = hashlib.sha256("\x1f".join(candidate.decided).encode()).hexdigest()
        if digest in self._verdicts:
            return self._verdicts[digest]
        chosen = name or candidate.name or f"candidate {digest[:8]}"
        if any(chosen == v.name for v in self._verdicts.values()):
            raise UserError(
                f"{chosen!r} was judged with other predictions; give this candidate another name (`name=`)."
            )
        table = self._audited.with_model(chosen, candidate.decided.tolist(), candidate.run)
        verdict = judge_held_out(
            table,
            self._options.with_changes(compressed=(chosen,)),
            number=len(self._verdicts) + 1,
            seen_by_loop=len(self.history),
            ledger=self._ledger,
        )
        self._verdicts[digest] = verdict
        return verdict

    def __str__(self) -> str:
        """Return what is guarded, and what is assumed."""
        few = self.unchanged.too_few
        lines = [
            f"loop: {len(self._loop):,} rows; verdict: {len(self._held_out):,} other rows (told apart by "
            f"{self._identified_by}).",
            f"Guarded: {name_groups(self.unchanged.assessed)}, at a margin of {points(self.margin)} points of the "
            f"{joined(ERRORS[e] for e in self._watch)}, against {self.baseline}.",
            f"A model that decides as the baseline: {self.unchanged}.",
        ]
        if few:
            lines.append(f"Too few rows in the loop to be assessed by themselves: {name_groups(few)}.")
        return "\n".join(lines)

    def _worst_of(self, rows: GuardedRows, decided: Any) -> WorstGroup:
        return worst_group(rows.with_model(CANDIDATE, decided), self._options, self._watch)

    def _baseline_classes(self, rows: GuardedRows) -> Any:
        return decided_classes(rows.texts(self.baseline), self._classes, len(rows), rows.whose)
