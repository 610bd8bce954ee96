"""What a kind of outcome is: the columns it reads, the value of each row under each model, its measure and default margin.

A new kind is one file with a class of these methods, and a line in `registry.KINDS`. Everything else (estimates,
verdicts, gaps, reports, gates) follows from `RowValues.values`: **numbers [rows] whose weighted mean in each group is the
group's level, and whose spread around it is the level's error.** For a mean these are the numbers themselves; for a ratio,
a distance or any other smooth function of means they are linearised: level + influence of the row
(`statistics.linear_values`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, runtime_checkable

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.measure import Measure
from fairpress.auditing.outcome import OutcomeRequest
from fairpress.auditing.outcomes.row_table import RowTable
from fairpress.auditing.result import Margin
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.core.estimate import Estimate


class RowValues(Protocol):
    """The values of one table under all models.

    Attributes
    ----------
    metrics
        The judged metrics, first the one that decides, such as ``("abs_error",)``.
    warnings, notes
        Sentences to be read before any verdict, and what was assumed or left out.
    undefined
        Why a group has no level, such as ``no words in this group``.
    """

    @property
    def metrics(self) -> tuple[str, ...]: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    @property
    def undefined(self) -> str: ...

    def values(self, model: str, metric: str, grouping: Grouping) -> Floats:
        """Return the (linearised) values [rows] of a model, whose weighted mean in a group is its level there.

        NaN for rows outside the metric's denominator, which must be the same rows under every model. Where the grouping
        has `against_rest` groups, the second group is the rest. `grouping.index` may be -1 for rows that are in no group.
        """
        ...

    def row_losses(self, model: str, baseline: str, metric: str) -> Floats | None:
        """Return by how much each row is worse under a model than under the baseline [rows], to count rows that changed.

        None where a row has no value of its own.
        """
        ...


@runtime_checkable
class BoundedValues(Protocol):
    """What `RowValues` have besides where their values are bounded (`bounded_evidence`).

    Attributes
    ----------
    folded
        The metrics whose level is the distance of the mean from 0; their `values` are signed.
    """

    @property
    def folded(self) -> frozenset[str]: ...

    def reach(self, models: Sequence[str], metric: str, grouping: Grouping) -> Floats:
        """Return the most that one row can change a value, in one direction [groups]."""
        ...

    def share(self, models: Sequence[str], metric: str, grouping: Grouping) -> Floats:
        """Return the share of a group's rows with a value that are in the metric's own denominator under every model: of a
        ratio fewer than all [groups]. It divides `n` and the degrees of freedom."""
        ...

    def details(self, model: str, grouping: Grouping, confidence: float) -> Mapping[str, list[Estimate]]:
        """Return further levels of each group under a model, shown and not judged, by name; empty if there are none."""
        ...


class OutcomeKind(Protocol):
    """A kind of outcome.

    Attributes
    ----------
    word
        Its name in ``outcome=``.
    settings
        The names of the settings it takes besides ``unit``.
    needs_margin
        Whether the margin must be asked for, because no default has a meaning in every unit.
    linear
        Whether `RowValues.values` are the same for every grouping: true for a mean, false for what is linearised.
    """

    @property
    def word(self) -> str: ...

    @property
    def settings(self) -> frozenset[str]: ...

    @property
    def needs_margin(self) -> bool: ...

    @property
    def linear(self) -> bool: ...

    def columns(
        self, request: OutcomeRequest, models: Sequence[str], label: str, present: Collection[str]
    ) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Return the columns of numbers and those of texts that are read, each with what it is in messages.

        `label` is the option `label`, ``"label"`` by default; `present` are the columns of the table. Raises UserError for a
        request that is incomplete.
        """
        ...

    def title(self, request: OutcomeRequest) -> str:
        """Return a sentence that says what a value is, for the report."""
        ...

    def margin_of(self, given: str, request: OutcomeRequest) -> Margin | None:
        """Return a margin written in a unit of this kind, such as ``0.5pp``; None if the text is not of this form."""
        ...

    def measures(self, request: OutcomeRequest, margins: Mapping[str, Margin]) -> Mapping[str, Measure]:
        """Return the measure of every judged metric; its decimals follow from the margin."""
        ...

    def bind(self, request: OutcomeRequest, table: RowTable, models: Sequence[str], label: str) -> RowValues:
        """Return the values of a table; raises UserError where they cannot be judged, naming the column and row."""
        ...
