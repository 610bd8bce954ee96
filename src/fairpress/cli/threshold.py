"""`fairpress threshold`: the threshold of a score at a false positive rate, chosen on rows that are not audited."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from fairpress.cli.app import app, print_line, print_sentence, split_list, write_output
from fairpress.core.errors import UserError

if TYPE_CHECKING:
    from fairpress.core.estimate import Estimate


@app.command
def threshold(
    table: str,
    /,
    *,
    models: str,
    fpr: float,
    label: str = "label",
    positive: str | None = None,
    subject: str | None = None,
    shared: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    confidence: float = 0.95,
    json_: Annotated[bool, Parameter("--json", negative="", show_default=False)] = False,
) -> int:
    """Choose the threshold of each model's score at a false positive rate, on rows that are not audited.

    Example: fairpress threshold other-people.parquet --models fp32,int8 --fpr 0.001 --positive same --subject block

    For pairs of people, the false positive rate is the false match rate (FMR) and the false negative rate the false
    non-match rate (FNMR). The audit of other rows then takes the printed --decide.

    Parameters
    ----------
    table
        A row per pair or example, with its label and a score M.score (or M) per model.
    models
        The models, comma-separated, the baseline first.
    fpr
        The rate that is accepted, pooled over all groups: 0.001.
    label
        Column of the true classes.
    positive
        The positive class, such as same; by default 1, yes or true.
    subject
        Column of people, or of blocks of people, whose rows are not independent.
    shared
        Give all models the threshold of the first.
    confidence
        Confidence level of the intervals.
    json_
        Print JSON.
    """
    from fairpress.auditing.biometrics.operating_threshold import ENOUGH, thresholds

    names = split_list(models)
    if not names:
        raise UserError("name the models with --models, such as --models fp32,int8.")
    chosen = thresholds(
        table,
        names,
        fpr=fpr,
        label=label,
        positive=positive,
        subject=subject,
        shared=shared,
        confidence=confidence,
    )
    if json_:
        write_output(json.dumps([{**asdict(t), "decide": t.decide} for t in chosen], indent=1))
        return 0
    for t in chosen:
        print_sentence(
            f"{t.model}: {t.decide}: false positive rate {_percent(t.false_positive_rate)}, "
            f"false negative rate {_percent(t.false_negative_rate)}",
        )
    if any(t.few for t in chosen):
        sys.stderr.write(
            f"warning: the false positive rate rests on fewer than {ENOUGH} errors; more negative rows, or a higher rate, "
            "would fix the threshold more firmly.\n"
        )
    options = [part for t in chosen for part in ("--decide", f"{t.model}={t.decide}")]
    print_line("Next, on other rows:")
    first, *rest = names
    command = ["fairpress", "audit", "TABLE", *options, "--baseline", first]
    command += ["--compressed", ",".join(rest)] if rest else []
    command += ["--label", label] if label != "label" else []
    command += ["--positive", positive] if positive is not None else []
    command += ["--subject", subject] if subject is not None else []
    print_line(f"  {shlex.join([*command, '--by', '…'])}", markup=False, soft_wrap=True)
    return 0


def _percent(rate: Estimate) -> str:
    """Return ``1.0 % [0.7, 1.4] of 4,752`` with as many digits as the rate needs."""
    if rate.value is None or rate.low is None or rate.high is None:
        return "unknown (no such rows)"
    digits = 1 if rate.value >= 0.01 else 3
    low, high = (f"{100 * bound:.{digits}f}" for bound in (rate.low, rate.high))
    return f"{100 * rate.value:.{digits}f} % [{low}, {high}] of {int(rate.n):,}"
