"""Options of `fairpress audit` that do not go with an outcome other than a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairpress.core.errors import UserError

_CLASSES_ONLY = {
    "--export-cells": "cells count classes",
    "--monitor": "a ledger records losses of correct answers",
    "--four-fifths": "impact ratios are of selection rates",
}


def refuse_with_outcome(outcome: str, given: Mapping[str, Any]) -> None:
    """Raise UserError for an option that is about classes; `given` maps options to their values, None if not given."""
    for option, reason in _CLASSES_ONLY.items():
        if given.get(option) is not None:
            raise UserError(f"{option} does not go with the outcome {outcome!r}: {reason}. Leave it out.")
