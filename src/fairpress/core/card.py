"""The card of a model: what later commands must know about a file that only holds numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fairpress.core.errors import UserError

SCHEMA = "fairpress.card/1"


@dataclass(frozen=True)
class ModelCard:
    """Everything about a model that is not its weights.

    Attributes
    ----------
    target, classes, positive
        The task, as in `fairpress.datasets.base.Task`.
    architecture
        ``{"name": "mlp", …}`` with every parameter needed to build the network again.
    inputs
        What one row looks like: ``{"name": "x", "shape": [8], "columns": […]}``; the batch comes first.
    activation
        What turns the file's output into class probabilities: ``"softmax"``, ``"sigmoid"`` or ``"none"``.
    threshold
        Binary tasks: the positive class is decided when its probability is at least this.
    data
        ``{"name", "config", "fingerprint", "folds", "fold"}`` of the dataset it was trained on.
    recipe
        The chain that made it, ``"fp32"`` for a model as trained.
    seed
        The training seed.
    baseline
        sha256 of the ONNX file it was compressed from; ``None`` for a model as trained.
    provenance
        Versions, device, threads, training curve; whatever a reader needs to make it again.
    """

    target: str
    classes: tuple[str, ...]
    positive: str | None
    architecture: Mapping[str, Any]
    inputs: Mapping[str, Any]
    activation: str = "softmax"
    threshold: float = 0.5
    data: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = "fp32"
    seed: int | None = None
    baseline: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the card as the text of card.json."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "card.json") -> ModelCard:
        """Read a card. Raises UserError naming `where` when the text is no card."""
        try:
            raw = json.loads(text)
            if raw.pop("schema") != SCHEMA:
                raise ValueError("other schema")
            raw["classes"] = tuple(raw["classes"])
            return cls(**raw)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{where} is not a {SCHEMA} card ({error}); make the model again.") from None
