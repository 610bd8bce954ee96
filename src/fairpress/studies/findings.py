"""What compression did to a fairness metric, side by side for all parts of a study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fairpress.auditing.result import Audit
from fairpress.core.estimate import Estimate
from fairpress.studies.sections import Planned

METRIC = "pairwise_bias"
Word = Literal["raised", "lowered", "not shown to change", "not estimable"]


@dataclass(frozen=True)
class Finding:
    """One metric of one compressed model over the groups of one attribute.

    Attributes
    ----------
    part
        The part of the study; empty where there is one.
    against
        The model it is compared with: the baseline, or a placebo.
    before, after
        The metric of either.
    change
        after − before, paired.
    """

    part: str
    model: str
    against: str
    attribute: str
    before: Estimate
    after: Estimate
    change: Estimate

    @property
    def word(self) -> Word:
        """Say what the interval of the change allows to say."""
        if self.change.low is None or self.change.high is None:
            return "not estimable"
        return (
            "raised" if self.change.low > 0 else "lowered" if self.change.high < 0 else "not shown to change"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as bias.json holds it."""
        return {
            **{k: getattr(self, k) for k in ("part", "model", "against", "attribute", "word")},
            "metric": METRIC,
            **{k: getattr(self, k).to_dict() for k in ("before", "after", "change")},
        }


def findings(planned: Sequence[Planned], audits: Iterable[Audit]) -> list[Finding]:
    """Return what compression did to the sum over pairs of |ΔTPR| + |ΔTNR| (Kamal and Talbert 2024, eq. 1)."""
    found = []
    for section, audit in zip(planned, audits, strict=True):
        if section.about not in ("compressed", "placebo"):
            continue
        metric = {(f.model, f.attribute): f.estimate for f in audit.fairness if f.metric == METRIC}
        for comparison in audit.comparisons:
            for by in comparison.attributes:
                if METRIC in by.gap_changes:
                    found.append(
                        Finding(
                            section.part,
                            comparison.compressed,
                            audit.baseline,
                            by.attribute,
                            metric[audit.baseline, by.attribute],
                            metric[comparison.compressed, by.attribute],
                            by.gap_changes[METRIC],
                        )
                    )
    return found
