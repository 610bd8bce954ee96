"""The card of a model: what later commands need to know about a file that contains only numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairpress.core.errors import UserError
from fairpress.core.indented_json import indented_json
from fairpress.core.json_file import parse_json, read_regular
from fairpress.core.output_kind import OutputKind

SCHEMA = "fairpress.card/1"
MAX_BYTES = 64 << 20
REMEDY = "create the model again"


@dataclass(frozen=True)
class ModelCard:
    """Everything about a model that is not its weights.

    Attributes
    ----------
    target, classes, positive
        The task, as in `fairpress.datasets.dataset.Task`.
    architecture
        ``{"name": "mlp", …}`` with every parameter needed to build the network again.
    inputs
        What one row looks like: ``{"name": "x", "shape": [8], "columns": […]}``; the batch comes first.
    outputs
        What is predicted if it is not a class: ``{"kind": "number"}``, or ``{"kind": "labels", "names": […],
        "thresholds": […]}`` (a label is present if its probability is at least its threshold), or
        ``{"kind": "embedding", "size": 128}``. Empty: one of `classes`.
    activation
        What turns the file's output into probabilities of the classes, or of each of several labels: ``"softmax"``,
        ``"sigmoid"`` or ``"none"``.
    threshold
        Binary tasks: the positive class is decided when its probability is at least this.
    data
        ``{"name", "config", "fingerprint", "folds", "fold"}`` of the dataset it was trained on.
    recipe
        The compression recipe, ``"fp32"`` for a model as trained.
    seed
        The training seed.
    baseline
        sha256 of the ONNX file it was compressed from; ``None`` for a model as trained.
    provenance
        Versions, device, threads, training curve; whatever is needed to reproduce it.
    """

    target: str
    classes: tuple[str, ...]
    positive: str | None
    architecture: Mapping[str, Any]
    inputs: Mapping[str, Any]
    activation: str = "softmax"
    threshold: float = 0.5
    outputs: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = "fp32"
    seed: int | None = None
    baseline: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def output_kind(self) -> OutputKind:
        """What the model predicts."""
        kind: OutputKind = self.outputs.get("kind", "classes")
        return kind

    @property
    def width(self) -> int:
        """The number of outputs that the task needs."""
        if self.output_kind == "embedding":
            return int(self.outputs["size"])
        return {"number": 1, "labels": len(self.outputs.get("names", ()))}.get(
            self.output_kind, len(self.classes)
        )

    def to_json(self) -> str:
        """Return the card as the text of card.json."""
        return indented_json({"schema": SCHEMA, **vars(self)}, 2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, source_name: str = "card.json") -> ModelCard:
        """Read a card. Raises UserError naming `source_name` and the wrong field if the text is not a card."""
        from fairpress.core.card_content import CardContent, problem_of

        # A training that diverged has losses that are not numbers.
        raw = parse_json(text, source_name, MAX_BYTES, remedy=REMEDY, finite=False)
        schema = raw.pop("schema", None) if isinstance(raw, dict) else None
        problem = "its `schema` is different or missing" if schema != SCHEMA else problem_of(CardContent, raw)
        if problem is not None:
            raise UserError(f"{source_name} is not a {SCHEMA} card ({problem}); {REMEDY}.")
        return cls(**{**raw, "classes": tuple(raw["classes"])})

    @classmethod
    def read(cls, path: Path) -> ModelCard:
        """Read a card.json. Raises UserError if it is missing or damaged."""
        return cls.from_json(read_regular(path, "a model's card", MAX_BYTES), str(path))
