"""What compression did to the bias of every part of a study, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairpress.reporting.tradeoff import word
from fairpress.studies.planning.report_plan import ReportSection


@dataclass(frozen=True)
class BiasFinding:
    """The sum over pairs of groups of |ΔTPR| + |ΔTNR| (Kamal and Talbert 2024, eq. 1) of one compressed model.

    Attributes
    ----------
    part
        The part of the study; empty where there is one.
    model, against
        The compressed model, and the baseline or placebo it is compared with.
    attribute, groups
        Whose groups, and which of them: those with enough rows of either label.
    before, after, change
        Estimates as JSON: of the bias of either, and of after − before, paired.
    """

    part: str
    model: str
    against: str
    attribute: str
    groups: Sequence[str]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    change: Mapping[str, Any]

    @property
    def word(self) -> str:
        """Say what the interval of the change allows to say: raised, lowered, undecided, not estimable."""
        return word(self.change)

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as bias.json holds it."""
        return {**{k: getattr(self, k) for k in self.__dataclass_fields__}, "word": self.word}


def bias_findings(
    planned: Sequence[ReportSection], changes_per_section: Iterable[Sequence[Mapping[str, Any]]]
) -> list[BiasFinding]:
    """Return the findings of all sections on compression; `told` are what `reported.bias_changes` returned for each."""
    return [
        BiasFinding(part=section.part, **change)
        for section, changes in zip(planned, changes_per_section, strict=True)
        if section.about in ("compressed", "counterpart", "placebo")
        for change in changes
    ]
