"""mitigation.json: a repair with the model and the rows it was fitted on."""

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
MOST_BYTES = 64 << 20
REMEDY = "run fairpress mitigate again"
METHODS = {kind.method: kind for kind in (CalibratedEqualizedOdds, GroupThresholds)}
Repair = CalibratedEqualizedOdds | GroupThresholds


@dataclass(frozen=True)
class Mitigation:
    """What a model folder's mitigation.json says.

    Attributes
    ----------
    repair
        What is done to scores and decisions.
    model
        sha256 of the ONNX graph whose scores it was fitted to; it fits no other.
    fitted_on
        ``{"part", "rows", "fingerprint"}``.
    """

    repair: Repair
    model: str
    fitted_on: Mapping[str, Any] = field(default_factory=dict)

    @property
    def warning(self) -> str:
        """What whoever uses it must know."""
        by = " and ".join(self.repair.by)
        return (
            f"Deciding with this needs every person's {by} and treats people differently by it, which may be unlawful "
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
    def from_json(cls, text: str | bytes, where: str = "mitigation.json") -> Mitigation:
        """Read it. Raises UserError naming `where`, and the field that is wrong, when the text is something else."""
        from fairpress.core.card_content import problem_of
        from fairpress.mitigation.content import MixingContent, ThresholdsContent

        contents: dict[str, type[BaseModel]] = {
            CalibratedEqualizedOdds.method: MixingContent,
            GroupThresholds.method: ThresholdsContent,
        }
        raw = parse_json(text, where, MOST_BYTES, remedy=REMEDY)
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
            problem: str | None = "its `schema` is another one, or there is none"
        elif not isinstance(raw.get("method"), str) or raw["method"] not in METHODS:
            problem = f"`method` is none of {', '.join(METHODS)}"
        else:
            problem = problem_of(contents[raw["method"]], raw)
        if problem is not None:
            raise UserError(f"{where} is not a {SCHEMA} file ({problem}); {REMEDY}.")
        return cls(METHODS[raw["method"]].from_dict(raw), raw["model"], raw["fitted_on"])

    @classmethod
    def read(cls, path: Path) -> Mitigation:
        """Read a mitigation.json. Raises UserError when there is none, or it is damaged."""
        return cls.from_json(read_regular(path, "a mitigation", MOST_BYTES), str(path))
