"""mitigation.json: a fitted mitigation with the digest of its model and the rows that it was fitted on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fairpress.core.errors import UserError
from fairpress.core.json_file import parse_json, read_regular
from fairpress.mitigation.calibrated_equalized_odds import CalibratedEqualizedOdds
from fairpress.mitigation.thresholds import GroupThresholds

SCHEMA = "fairpress.mitigation/1"
MAX_BYTES = 64 << 20
REMEDY = "run fairpress mitigate again"
METHODS = {kind.method: kind for kind in (CalibratedEqualizedOdds, GroupThresholds)}
Repair = CalibratedEqualizedOdds | GroupThresholds


@dataclass(frozen=True)
class Mitigation:
    """The contents of a model folder's mitigation.json.

    Attributes
    ----------
    repair
        The fitted method that changes scores and decisions.
    model
        sha256 of the ONNX graph whose scores it was fitted to; it is valid for no other graph.
    fitted_on
        ``{"part", "rows", "fingerprint"}``.
    """

    repair: Repair
    model: str
    fitted_on: Mapping[str, Any] = field(default_factory=dict)

    @property
    def warning(self) -> str:
        """The warning for everyone who uses the mitigation."""
        attributes = " and ".join(self.repair.by)
        return (
            f"Deciding with this needs every person's {attributes} and treats people differently by it, which may be "
            "unlawful "
            f"where you are; take legal advice. model.onnx alone decides without it."
        )

    def to_json(self) -> str:
        """Return the text of mitigation.json."""
        raw = {
            "schema": SCHEMA,
            "method": self.repair.method,
            "model": self.model,
            "fitted_on": dict(self.fitted_on),
            "warning": self.warning,
            **self.repair.to_dict(),
        }
        return json.dumps(raw, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, source_name: str = "mitigation.json") -> Mitigation:
        """Parse a mitigation.json. Raises UserError, naming `source_name` and the wrong field, for any other text."""
        from fairpress.core.card_content import problem_of
        from fairpress.mitigation.content import MixingContent, ThresholdsContent

        contents: dict[str, type[BaseModel]] = {
            CalibratedEqualizedOdds.method: MixingContent,
            GroupThresholds.method: ThresholdsContent,
        }
        raw = parse_json(text, source_name, MAX_BYTES, remedy=REMEDY)
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
            problem: str | None = "its `schema` is missing or different"
        elif not isinstance(raw.get("method"), str) or raw["method"] not in METHODS:
            problem = f"`method` is not one of {', '.join(METHODS)}"
        else:
            problem = problem_of(contents[raw["method"]], raw)
        if problem is not None:
            raise UserError(f"{source_name} is not a {SCHEMA} file ({problem}); {REMEDY}.")
        return cls(METHODS[raw["method"]].from_dict(raw), raw["model"], raw["fitted_on"])

    @classmethod
    def read(cls, path: Path) -> Mitigation:
        """Read a mitigation.json. Raises UserError when the file is missing or damaged."""
        return cls.from_json(read_regular(path, "a mitigation", MAX_BYTES), str(path))
