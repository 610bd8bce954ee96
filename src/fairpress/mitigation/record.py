"""mitigation.json: a repair with the model and the rows it was fitted on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fairpress.core.errors import UserError
from fairpress.mitigation.calibrated_equalized_odds import CalibratedEqualizedOdds
from fairpress.mitigation.thresholds import GroupThresholds

SCHEMA = "fairpress.mitigation/1"
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
    def from_json(cls, text: str, where: str = "mitigation.json") -> Mitigation:
        """Read it. Raises UserError naming `where` when the text is something else."""
        try:
            raw = json.loads(text)
            if raw["schema"] != SCHEMA:
                raise ValueError("other schema")
            return cls(METHODS[raw["method"]].from_dict(raw), raw["model"], raw["fitted_on"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                f"{where} is not a {SCHEMA} file ({error}); run fairpress mitigate again."
            ) from None
