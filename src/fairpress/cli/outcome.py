"""Outcomes other than classes on the command line: options that do not go with them, and their plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fairpress.cli.app import print_sentence, write_output
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


def plan_by_deviation(
    sd: float,
    margin: str,
    loss: float,
    confidence: float,
    assurance: float,
    others: Mapping[str, Any],
    as_json: bool,
) -> int:
    """Print the rows that each group needs in an audit of numbers; `others` are options that are about classes."""
    from fairpress.auditing.planning.number_plan import plan_numbers

    given = next((option for option, value in others.items() if value is not None), None)
    if given is not None:
        raise UserError(f"{given} plans an audit of classes, and --sd one of numbers; use one of them.")
    try:
        number = float(margin)
    except ValueError:
        raise UserError(
            f"--margin {margin!r}: with --sd, the margin is a number in the unit of the outcome, such as 0.25."
        ) from None
    plan = plan_numbers(number, sd, loss, confidence, assurance)
    if as_json:
        write_output(json.dumps(plan.to_dict(), indent=1, allow_nan=False))
        return 0
    print_sentence(
        f"Each group needs {plan.rows:,} rows (or people, where rows repeat) for a chance of {100 * assurance:g} % of no "
        f"harm at a margin of {number:g}, if differences scatter by {sd:g} and the true loss is {loss:g}. Long tails need "
        "more. Take the deviation from other rows than those that will be audited.",
    )
    return 0
