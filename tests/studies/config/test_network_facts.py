"""The facts of a network survive a file, and name what its card records."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from fairpress.studies.config.network_facts import NetworkFacts, StudyNetwork, facts_json, parse_facts

FILE = {"bytes": 4000, "gzip_bytes": 3000, "sha256": "0", "threshold": 0.5}
BASELINE = NetworkFacts(recipe="fp32", seed=1, fold=2, provenance={"validation_accuracy": 0.8}, **FILE)
PRUNED = NetworkFacts(
    recipe="prune-80",
    seed=1,
    fold=2,
    group={"sex": "Female"},
    provenance={
        "validation_accuracy": 0.8,
        "details": {"validation": {"accuracy": 0.7}, "sparsity": 0.8},
    },
    **FILE,
)


def test_facts_survive_a_file():
    content = facts_json([BASELINE, PRUNED])
    assert parse_facts(content) == [BASELINE, PRUNED]
    assert ["group" in fact for fact in json.loads(content)] == [False, True]


def test_a_compressed_network_has_the_accuracy_of_its_compression():
    assert (BASELINE.validation_accuracy, PRUNED.validation_accuracy) == (0.8, 0.7)
    assert (BASELINE.details.get("sparsity"), PRUNED.details.get("sparsity")) == (None, 0.8)


def test_a_network_of_a_study_needs_the_labels_of_its_part():
    labels = {"part": "", "dataset": "compas", "model": "mlp"}
    assert StudyNetwork.model_validate({**labels, **BASELINE.to_dict()}).dataset == "compas"
    with pytest.raises(ValidationError, match="dataset"):
        StudyNetwork.model_validate({"part": "compas, mlp", **BASELINE.to_dict()})
