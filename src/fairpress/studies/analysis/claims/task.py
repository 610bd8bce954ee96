"""The task of a study that tests its claims."""

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
    """Return the verdicts on all claims, as `CLAIMS`.

    ``params``: `folds`, `confidence`, and `claims`, name → {claim, by, reason, effect and lost as lists of
    [part, recipe, weight], tables: {part: position of its input}, positive: the class, people: whether some have several
    rows}.
    """
    entries: dict[int, Entry] = {}
    joined: dict[int, pa.Table] = {}
    claims: dict[str, Claim] = {}
    measured: dict[str, tuple[str, MeasuredEffect | str]] = {}
    for name, request in task.params["claims"].items():
        claim = claims[name] = Claim.model_validate(request["claim"])
        if request["reason"]:
            measured[name] = request["by"], request["reason"]
            continue
        effect, lost = ({(p, r): w for p, r, w in request[k]} for k in ("effect", "lost"))
        trials = ClaimTrials(effect, lost, request["by"])
        for i in request["tables"].values():
            entries.setdefault(i, read_entry(store, task.inputs[i]))
        if claim.quantity == "sensitivity_depth":
            facts = {p: json.loads(entries[i].files[MODELS]) for p, i in request["tables"].items()}
            result = measure_layers(trials, facts, claim.than, task.params["confidence"])
        else:
            for i in request["tables"].values():
                if i not in joined:
                    joined[i] = read_table(entries[i])
            result = measure_effect(
                claim,
                trials,
                {p: joined[i] for p, i in request["tables"].items()},
                positive=request["positive"],
                people=request["people"],
                folds=task.params["folds"],
                confidence=task.params["confidence"],
            )
        measured[name] = trials.by, result
    verdicts = claim_verdicts(claims, measured, task.params["confidence"])
    return {CLAIMS: json.dumps([a.to_dict() for a in verdicts], allow_nan=False, indent=1).encode()}
