"""`fairpress mitigate`: repair a finished model's scores or decisions, a group at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from fairpress.cli.app import app, print_line, print_sentence
from fairpress.cli.written import files_of_data, next_predict, print_next

if TYPE_CHECKING:
    from fairpress.mitigation.artifact import Repair
    from fairpress.mitigation.calibrated_equalized_odds import CalibratedEqualizedOdds


@app.command
def mitigate(
    base: Path,
    /,
    *,
    by: str,
    out: Path,
    method: Literal["calibrated-equalized-odds", "thresholds"] = "calibrated-equalized-odds",
    cost: Literal["weighted", "fnr", "fpr"] | None = None,
    calibration: Literal["platt", "none"] | None = None,
    constraint: Literal["demographic_parity", "equal_opportunity", "predictive_equality", "equalized_odds"]
    | None = None,
    data: str | None = None,
    seed: int = 0,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> int:
    """Adjust a finished model's scores or decisions by group, fitted on validation rows.

    Example: fairpress mitigate base/ --method calibrated-equalized-odds --cost fnr --by race --out base-ceo/

    calibrated-equalized-odds: calibrates scores, then replaces the scores of a random share of each less costly group by
    its base rate, until its generalized cost equals that of the costliest group. It equalizes that mean, not rates at a
    threshold.

    thresholds: sets thresholds per group so that rates are equal (by fairlearn).

    Both need each person's group at prediction time, and using it may be unlawful. Both randomize some decisions, by a
    hash of the seed and the row id. Compress first, then mitigate: a mitigation fits the scores of one file.

    Parameters
    ----------
    base
        The model folder, compressed or not.
    by
        A sensitive attribute, or an intersection such as 'sex*race'.
    out
        The new model folder: the same files and mitigation.json, which predict applies.
    method
        The method, as above.
    cost
        What calibrated-equalized-odds equalizes: the generalized false negative rate, false positive rate, or both
        weighted by the base rate (the default).
    calibration
        platt (the default): a curve per group first. none: the scores are assumed to be calibrated.
    constraint
        What thresholds equalize; by default equalized_odds.
    data
        For a Hugging Face folder, or where the card's data are gone: a dataset's name, or a YAML file that describes the
        data.
    seed
        Seed of the random decisions.
    force
        Replace an existing model folder.
    """
    from fairpress import api
    from fairpress.runtime.artifact import check_target

    check_target(out, inputs=[base, *files_of_data(data)], force=force)
    artifact = api.mitigate(
        base,
        data=data,
        by=by,
        method=method,
        cost=cost,
        calibration=calibration,
        constraint=constraint,
        seed=seed,
    )
    folder = artifact.save(out, force=force)
    assert artifact.mitigation is not None
    rows = artifact.mitigation.fitted_on["rows"]
    print_line(f"Written: {folder}: {method} by {by}, fitted on {rows:,} validation rows", markup=False)
    for line in mitigation_text(artifact.mitigation.repair, artifact.card.threshold):
        print_sentence(line)
    print_sentence(artifact.mitigation.warning)
    print_next(next_predict([base, folder], data))
    return 0


def mitigation_text(repair: Repair, threshold: float) -> list[str]:
    """Return one line per group with the fitted rule; its effect is measured by an audit of test rows."""
    from fairpress.mitigation.calibrated_equalized_odds import CalibratedEqualizedOdds

    lines = []
    if isinstance(repair, CalibratedEqualizedOdds):
        return _mixing(repair, threshold)
    for group in repair.groups:
        name = ", ".join(group.values.values())
        if group.reason:
            lines.append(f"  {name}: keeps the model's threshold ({group.reason})")
            continue
        parts = [
            f"{'above' if rule.above else 'below'} {rule.threshold:.3f} (weight {rule.weight:.2f})"
            for rule in group.rules
        ]
        chance = f"; {group.ignored:.0%} regardless of the score" if group.ignored else ""
        lines.append(f"  {name} ({group.n:,} rows): positive {' or '.join(parts)}{chance}")
    return lines


def _mixing(repair: CalibratedEqualizedOdds, threshold: float) -> list[str]:
    lines = []
    cost_name = {"fnr": "generalized FNR", "fpr": "generalized FPR", "weighted": "weighted cost"}[repair.cost]
    for group in repair.groups:
        name = ", ".join(group.values.values())
        if group.cost is None or group.expected_cost is None:
            lines.append(f"  {name}: unchanged ({group.reason})")
            continue
        end = (
            f"{cost_name} {group.cost:.3f} → {group.expected_cost:.3f}"
            if group.mixing_rate
            else f"{cost_name} {group.cost:.3f}"
        )
        # All these rows fall on one side of the threshold, regardless of their scores.
        side = "positive" if (group.base_rate or 0.0) >= threshold else "negative"
        decided = f", which decides {side}" if group.mixing_rate else ""
        missed = (
            ""
            if group.feasible
            else f"; infeasible, the base rate for all would cost {group.trivial_cost:.3f}"
        )
        lines.append(
            f"  {name} ({group.n:,} rows): {group.mixing_rate:.1%} get the base rate {group.base_rate:.3f}{decided}; "
            f"{end}{missed}"
        )
    if not repair.feasible:
        lines.append(
            "Infeasible: no mixing of scores and base rates equalizes the cost of all groups; the closest one was applied."
        )
    return lines
