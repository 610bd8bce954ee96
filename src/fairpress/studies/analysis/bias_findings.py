"""The effect of compression on the pairwise bias of every part of a study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairpress.core.estimate import Estimate
from fairpress.reporting.tradeoff import word
from fairpress.studies.planning.report_plan import ReportSection

ESTIMATES = ("before", "after", "change")


@dataclass(frozen=True)
class BiasFinding:
    """The pairwise bias of one compressed model: the sum over pairs of groups of |ΔTPR| + |ΔTNR|.

    Source: Kamal and Talbert 2024, eq. 1.

    Attributes
    ----------
    part
        The part of the study; empty if there is only one.
    model, against
        The compressed model, and the baseline or placebo it is compared with.
    attribute, groups
        The sensitive attribute, and its groups with enough rows of each label.
    before, after, change
        The bias of `against` and of `model`, and the paired difference after − before.
    """

    part: str
    model: str
    against: str
    attribute: str
    groups: Sequence[str]
    before: Estimate
    after: Estimate
    change: Estimate

    @property
    def word(self) -> str:
        """Return the verdict that the interval of the change allows: raised, lowered, undecided, not estimable."""
        return word(self.change)

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as in bias.json."""
        estimates = {k: getattr(self, k).to_dict() for k in ESTIMATES}
        return {**{k: getattr(self, k) for k in self.__dataclass_fields__}, **estimates, "word": self.word}


def bias_findings(
    planned: Sequence[ReportSection], changes_per_section: Iterable[Sequence[Mapping[str, Any]]]
) -> list[BiasFinding]:
    """Return the findings of all sections on compression; `changes_per_section` are results of `bias_changes`."""
    return [
        BiasFinding(part=section.part.label, **{**change, **{k: Estimate(**change[k]) for k in ESTIMATES}})
        for section, changes in zip(planned, changes_per_section, strict=True)
        if section.is_compression
        for change in changes
    ]
