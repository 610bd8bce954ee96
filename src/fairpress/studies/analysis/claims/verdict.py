"""From measured effects to verdicts, corrected for the number of claims of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from fairpress.auditing.verdicts.multiplicity import holm
from fairpress.core.estimate import Estimate
from fairpress.studies.analysis.claims.effect import MeasuredEffect, seeds_needed
from fairpress.studies.config.claims import Claim

Word = Literal["supported", "contradicted", "undecided", "undecidable", "not answered"]
CLAIMS = "claims.json"


@dataclass(frozen=True)
class ClaimVerdict:
    """A claim and the verdict of the study.

    Attributes
    ----------
    name, claim
        Its key in the study, and the claim as JSON.
    answer
        ``undecidable``: no outcome could be significant with this number of seeds; ``not answered``: trials or groups are
        missing.
    why
        For ``undecidable`` and ``not answered``: the reason, and what is needed.
    effect, size
        Estimates as JSON: in the unit of the quantity (shares of 1), and Hedges' g_z over pairs of networks.
    p, p_adjusted
        Two-sided p-value, and after Holm's correction over all claims of the study.
    seeds, networks, rows
        Sample sizes.
    test
        The test that decided: ``seeds × rows``, ``seeds`` (sensitivity of layers), or ``sign flips`` of pairs of networks,
        which counts below eight seeds if its p-value is the larger one.
    """

    name: str
    claim: Mapping[str, Any]
    by: str
    groups: Sequence[str]
    answer: Word
    why: str
    effect: Mapping[str, Any]
    p: float | None
    p_adjusted: float | None
    size: Mapping[str, Any] | None
    seeds: int
    networks: int
    rows: int
    test: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as in claims.json."""
        return asdict(self)


def claim_verdicts(
    claims: Mapping[str, Claim], measured: Mapping[str, tuple[str, MeasuredEffect | str]], confidence: float
) -> list[ClaimVerdict]:
    """Return the verdicts on all claims of a study.

    Parameters
    ----------
    measured
        Name of a claim → its attribute, and its measured effect or the reason why there is none. The correction counts all
        claims of the study, including those not answered, so that running a part of a study does not make significance
        easier to reach.
    """
    alpha = 1 - confidence
    effects = {name: m if isinstance(m, MeasuredEffect) else None for name, (_, m) in measured.items()}
    p = holm([1.0 if m is None or m.p is None else m.p for m in effects.values()])
    # The smallest possible corrected p-values: as if every claim reached the smallest p-value its networks allow.
    best_p = holm([1.0 if m is None or m.effect.value is None else m.smallest_p for m in effects.values()])
    verdicts = []
    for i, (name, (by, m)) in enumerate(measured.items()):
        claim = claims[name]
        dumped = claim.model_dump(mode="json", exclude_defaults=True)
        if isinstance(m, str) or m.effect.value is None:
            reason = m if isinstance(m, str) else str(m.effect.reason)
            effect = m.effect if isinstance(m, MeasuredEffect) else Estimate.not_estimable(reason)
            seeds = m.seeds if isinstance(m, MeasuredEffect) else 0
            verdicts.append(
                ClaimVerdict(
                    name,
                    dumped,
                    by,
                    (),
                    "not answered",
                    reason,
                    effect.to_dict(),
                    None,
                    None,
                    None,
                    seeds,
                    0,
                    0,
                )
            )
            continue
        word, why = _word(claim, m, float(p[i]), float(best_p[i]), alpha, len(claims))
        verdicts.append(
            ClaimVerdict(
                name,
                dumped,
                by,
                m.groups,
                word,
                why,
                m.effect.to_dict(),
                m.p,
                None if m.p is None else float(p[i]),
                None if m.size is None else m.size.to_dict(),
                m.seeds,
                m.networks,
                m.rows,
                m.test,
            )
        )
    return verdicts


def _word(
    claim: Claim, m: MeasuredEffect, p: float, best_p: float, alpha: float, count: int
) -> tuple[Word, str]:
    if m.p is None or best_p > alpha:
        needed = seeds_needed(m.per_seed, alpha / count)
        seeds = f"{m.seeds} seed" + ("s" if m.seeds != 1 else "")
        return "undecidable", f"undecidable with {seeds}; it takes at least {max(needed, m.seeds + 1)}"
    if p >= alpha or not np.isfinite(p):
        return "undecided", ""
    if claim.recovers is not None:
        return ("supported" if m.above else "contradicted"), ""
    if claim.expect == "differs":
        return "supported", ""
    return ("supported" if m.above == (claim.expect == "more") else "contradicted"), ""
