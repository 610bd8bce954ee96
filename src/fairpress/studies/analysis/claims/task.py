"""The task of a study that answers its claims."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fairpress.studies.analysis.claims.effect import MeasuredEffect, measure_effect
from fairpress.studies.analysis.claims.layer_depth import measure_layers
from fairpress.studies.analysis.claims.verdict import CLAIMS, claim_verdicts
from fairpress.studies.config.claims import Claim
from fairpress.studies.config.store_files import MODELS, read_entry, read_table
from fairpress.studies.planning.claim_trials import ClaimTrials

if TYPE_CHECKING:
    import pyarrow as pa

    from fairpress.store.local import Entry, Store
    from fairpress.studies.planning.plan import StudyTask


def answer_claims(store: Store, task: StudyTask) -> dict[str, bytes]:
    """Return the answers as `CLAIMS`.

    ``params``: `folds`, `confidence`, and `claims`, name → {claim, by, reason, effect and lost as lists of
    [part, recipe, weight], tables: {part: position of its input}, positive: the class, people: some have several rows}.
    """
    entries: dict[int, Entry] = {}
    read: dict[int, pa.Table] = {}
    claims: dict[str, Claim] = {}
    measured: dict[str, tuple[str, MeasuredEffect | str]] = {}
    for name, asked in task.params["claims"].items():
        claim = claims[name] = Claim.model_validate(asked["claim"])
        if asked["reason"]:
            measured[name] = asked["by"], asked["reason"]
            continue
        effect, lost = ({(p, r): w for p, r, w in asked[k]} for k in ("effect", "lost"))
        found = ClaimTrials(effect, lost, asked["by"])
        for i in asked["tables"].values():
            entries.setdefault(i, read_entry(store, task.inputs[i]))
        if claim.quantity == "sensitivity_depth":
            facts = {p: json.loads(entries[i].files[MODELS]) for p, i in asked["tables"].items()}
            told = measure_layers(found, facts, claim.than, task.params["confidence"])
        else:
            for i in asked["tables"].values():
                if i not in read:
                    read[i] = read_table(entries[i])
            told = measure_effect(
                claim,
                found,
                {p: read[i] for p, i in asked["tables"].items()},
                positive=asked["positive"],
                people=asked["people"],
                folds=task.params["folds"],
                confidence=task.params["confidence"],
            )
        measured[name] = found.by, told
    answered = claim_verdicts(claims, measured, task.params["confidence"])
    return {CLAIMS: json.dumps([a.to_dict() for a in answered], allow_nan=False, indent=1).encode()}
