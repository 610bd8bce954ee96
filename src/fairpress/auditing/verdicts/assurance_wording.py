"""Sentences on what would decide a verdict."""

from __future__ import annotations

from fairpress.auditing.verdicts.assurance import CAP, RowAssurance
from fairpress.auditing.verdicts.seed_assurance import SEEDS, RowsOrSeeds

ONE_LOOK = (
    "This is an audit of one look: repeated after more rows or for another release, it clears a loss of the margin more "
    "often than it states; --monitor LEDGER.json accounts for every look."
)
"""For an audit that is not monitored, beside the rows that would decide it. Measured (`benchmarks/simulated/monitoring.py`):
.08 to .10 where .05 is stated after up to six looks, .36 after ten releases."""


def rows_sentence(group: str, answer: RowAssurance | RowsOrSeeds) -> str:
    """Return what decides the verdict of a group: "1,500 more rows of race = Asian decide with 80 % chance (…)."."""
    chances = f"({answer.no_harm:.0%} no harm, {answer.loss:.0%} loss or harm)".replace("%", " %")
    chance = f"{answer.decided:.0%} chance {chances}".replace("% c", " % c")
    if isinstance(answer, RowAssurance):
        if answer.more_rows is None:
            return f"{CAP:,} more rows of {group} decide with no more than {chance}."
        return f"{answer.more_rows:,} more rows of {group} decide with {chance}."
    steps = []
    if answer.more_rows is not None:
        steps.append(f"{answer.more_rows:,} more rows of {group} under the same seeds")
    if answer.more_seeds is not None:
        steps.append(f"{_seeds(answer.more_seeds)} on the same rows")
    if answer.both is not None:
        steps.append(f"{answer.both[0]:,} more rows of {group} and {_seeds(answer.both[1])} together")
    if not steps:
        return (
            f"Neither {CAP:,} more rows of {group} nor {_seeds(SEEDS[-1])}, nor both in proportion, decide with "
            f"{answer.probability:.0%} chance.".replace("% c", " % c")
        )
    return (
        f"{', or '.join(steps)}, decide with {chance}."
        if len(steps) > 1
        else f"{steps[0]} decide with {chance}."
    )


def _seeds(seeds: int) -> str:
    return "1 more seed" if seeds == 1 else f"{seeds} more seeds"
