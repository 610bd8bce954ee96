"""Result types of an audit of many classes: rates of every class by group, before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fairpress.core.estimate import Estimate


@dataclass(frozen=True)
class BeforeAfter:
    """A rate under the baseline, under the compressed model, and its change (after − before) on the same rows."""

    before: Estimate
    after: Estimate
    change: Estimate


@dataclass(frozen=True)
class ClassRates:
    """One class in one group: its rows, its recall (of its rows, the share predicted right) and its precision (of the rows
    predicted so, the share that is right)."""

    name: str
    n: float
    recall: BeforeAfter
    precision: BeforeAfter


@dataclass(frozen=True)
class Confused:
    """Rows of a group with this label that are predicted as this class, before and after (a mean over seeds)."""

    label: str
    predicted: str
    before: float
    after: float


@dataclass(frozen=True)
class GroupClasses:
    """The classes of one group (``{}`` is everybody).

    Attributes
    ----------
    macro_recall, macro_f1
        Means over the classes that have rows in this group, each class counting once; with how many these are.
    classes
        Every class with rows in the group, or predicted there.
    confusion
        Pairs of label and prediction that occur under one of the models, unequal ones included.
    """

    values: Mapping[str, str]
    present: int
    macro_recall: BeforeAfter
    macro_f1: BeforeAfter
    classes: tuple[ClassRates, ...]
    confusion: tuple[Confused, ...]


@dataclass(frozen=True)
class ClassBound:
    """A bound of the loss of recall, and the class and group whose it is; None for the rare classes together."""

    value: float
    name: str | None
    values: Mapping[str, str]


@dataclass(frozen=True)
class ClassComparison:
    """The recall of every class under a compressed model and the baseline.

    The losses with their verdicts are `GroupComparison.class_losses`. They are of the same family as the other losses, and
    can only make a verdict worse.

    Attributes
    ----------
    classes
        The judged classes: those that some row has as its label.
    rare
        Those that have too few rows to be assessed even over all groups, and are judged together besides.
    upper
        X: no assessed class of an assessed group loses more, nor any that is shown to lose. None if none is assessed.
    lower
        Y: some class of some group loses at least this; None if no loss is shown.
    cells, assessed, cleared
        Pairs of class and group that have rows; those with enough rows; those of which a loss above the margin is ruled out.
        All people and the rare classes together do not count.
    groups
        Everybody, then each group of each attribute.
    """

    classes: tuple[str, ...]
    rare: tuple[str, ...]
    upper: ClassBound | None
    lower: ClassBound | None
    cells: int
    assessed: int
    cleared: int
    groups: tuple[GroupClasses, ...]
