"""What a study records of each network, in facts.json of its task and in models.json of the study."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fairpress.core.card_content import Count
from fairpress.core.indented_json import indented_json


class NetworkFacts(BaseModel):
    """One network of a study and its file.

    Attributes
    ----------
    group
        Attribute → value, if it was trained on the rows of one group only.
    bytes, gzip_bytes
        Size of its file, raw and gzipped.
    provenance
        As in its card, or its mitigation.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    recipe: str
    seed: Count
    fold: Count
    group: dict[str, str] = Field(default_factory=dict)
    bytes: Count
    gzip_bytes: Count
    sha256: str
    threshold: float
    provenance: dict[str, Any] = Field(default_factory=dict)

    @property
    def details(self) -> Mapping[str, Any]:
        """What its compression recorded, such as ``sparsity`` and the ``sensitivity`` of layers."""
        details: Mapping[str, Any] = self.provenance.get("details", {})
        return details

    @property
    def validation_accuracy(self) -> float | None:
        """Its accuracy on validation rows, if that is recorded."""
        compressed: float | None = self.details.get("validation", {}).get("accuracy")
        return compressed or self.provenance.get("validation_accuracy")

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as JSON values; without `group` if it is empty."""
        return {k: v for k, v in self.model_dump().items() if k != "group" or v}


class StudyNetwork(NetworkFacts):
    """One network in models.json: its facts, and the labels of its part, its dataset and its model."""

    part: str
    dataset: str
    model: str


def facts_json(facts: Sequence[NetworkFacts]) -> bytes:
    """Return the facts of networks as a file."""
    return indented_json([f.to_dict() for f in facts], 1).encode()


def parse_facts(content: bytes) -> list[NetworkFacts]:
    """Return the facts of networks in a file that `facts_json` wrote."""
    return [NetworkFacts.model_validate(f) for f in json.loads(content)]
