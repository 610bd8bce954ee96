"""Add a mitigation, fitted to a model's scores on validation rows, to an artifact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset
from fairpress.mitigation.artifact import Mitigation
from fairpress.mitigation.registry import fit_mitigation
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.fit import check_fit
from fairpress.runtime.probabilities import score


def apply_mitigation(
    artifact: Artifact, dataset: Dataset, *, method: str, by: str, seed: int = 0, **options: Any
) -> Artifact:
    """Return the artifact with a fitted mitigation; arguments are those of `mitigation.registry.fit_mitigation`.

    Raises
    ------
    UserError
        The model already contains a mitigation, does not fit the data, or the mitigation cannot be fitted.
    """
    if artifact.mitigation is not None:
        raise UserError("this model already contains a mitigation; mitigate the original model instead.")
    check_fit("base", artifact, dataset)
    index = dataset.development().index("validation")
    inputs = dataset.texts if artifact.reads_texts and dataset.texts is not None else dataset.inputs
    scores, _ = score(artifact, inputs, index)
    repair = fit_mitigation(method, dataset, index, scores, by=by, seed=seed, **options)
    fitted_on = {"part": "validation", "rows": len(index), "fingerprint": dataset.fingerprint}
    return replace(artifact, mitigation=Mitigation(repair, artifact.digest, fitted_on))
