"""`fairpress search`: the smallest model that is shown to harm no group."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from fairpress.cli.app import app, print_line, split_list
from fairpress.cli.exit_codes import GATE_FAILED
from fairpress.cli.progress import progress_callback


@app.command
def search(
    base: Path,
    /,
    *,
    by: str,
    out: Path,
    max_group_loss: float | None = None,
    max_loss: float | None = None,
    min_accuracy: float | None = None,
    max_dp_gap: float | None = None,
    max_eo_gap: float | None = None,
    max_eodds_gap: float | None = None,
    max_accuracy_gap: float | None = None,
    max_dp_gap_rise: float | None = None,
    max_eo_gap_rise: float | None = None,
    max_eodds_gap_rise: float | None = None,
    max_accuracy_gap_rise: float | None = None,
    max_bytes: int | None = None,
    max_latency_ms: float | None = None,
    objective: Literal["bytes", "latency", "accuracy"] = "bytes",
    budget: str = "10min",
    recipe: tuple[str, ...] = (),
    train: bool = True,
    confidence: float = 0.95,
    least_rows: int | None = None,
    store: Path | None = None,
    seed: int | None = None,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Find the smallest model for which "no group loses more than …" is shown, on rows that chose nothing.

    Examples:

    fairpress search base/ --by race,age --max-group-loss 0.02 --budget 30min --out best/

    fairpress search base/ --by sex --max-dp-gap 0.05 --max-bytes 30000 --objective accuracy --out best/

    Candidates are made cheap ones first (widths, ranges, calibration, bits per layer), then those that train, where they can
    still win, then what optuna proposes. Calibration rows choose among them. Validation rows judge a few of them in an order
    fixed beforehand, by one-sided bounds. The winner is audited on the test rows, which are opened for it alone. What was
    made is kept: the same command goes on from there, also after kill -9.

    Exits 0 with an artifact; 1 where its audit on the test rows shows harm or a loss; 2 where no candidate is shown to keep
    every limit, naming the nearest, the limit that binds, and whether more rows or a better model would help.

    Parameters
    ----------
    base
        The model folder of the baseline.
    by
        Sensitive attributes, by commas; 'sex*race' for an intersection.
    out
        The new model folder; nothing is written unless something was found.
    max_group_loss
        What no group may lose of accuracy and true positive rate, or gain in false positive rate: 0.02 is two points.
    max_loss
        What everybody together may lose of accuracy.
    min_accuracy
        Accuracy that must be left.
    max_dp_gap, max_eo_gap, max_eodds_gap, max_accuracy_gap
        Largest difference between two groups in selection rate, true positive rate, true or false positive rate, accuracy.
    max_dp_gap_rise, max_eo_gap_rise, max_eodds_gap_rise, max_accuracy_gap_rise
        By how much compression may drive two groups apart in the same.
    max_bytes, max_latency_ms
        Of the file; of a call with one row on this machine.
    objective
        What is best: fewest bytes, least latency, or most accuracy.
    budget
        A time, such as 30min, or a number of candidates, such as 40.
    recipe
        Another recipe to try first; may be repeated.
    train
        Whether recipes that train are tried.
    confidence
        Of the one-sided bounds.
    least_rows
        Rows a group must have to be judged; by default as many as show no harm where 1 % of the answers flip.
        Smaller groups are named, and not counted as fair; a loss that is shown for one of them refuses a candidate.
    store
        Where candidates are kept; .store beside --out by default.
    seed
        Of further training and of the sampler; by default the baseline's.
    force
        Replace a model folder that is there.
    json_
        Print JSON, as search.json holds it.
    """
    from fairpress import api
    from fairpress.searching import explanations
    from fairpress.searching.candidate_table import COLUMNS, table_rows
    from fairpress.searching.limits import Limits
    from fairpress.searching.write_result import save_result

    given: dict[str, Any] = locals()
    limits = {name: given[name] for name in Limits.model_fields}
    from fairpress.runtime.artifact import refuse_taken

    refuse_taken(out, inputs=[base], force=force)
    found = api.search(
        base,
        by=split_list(by),
        objective=objective,
        budget=budget,
        recipes=recipe,
        train=train,
        confidence=confidence,
        least_rows=least_rows,
        store=store or out.absolute().parent / ".store",
        seed=seed,
        say=progress_callback(),
        **limits,
    )
    folder = save_result(found, out, force=force)
    contradicted = found.audit.verdict in ("harm", "loss")
    if json_:
        print(json.dumps(found.searched.to_dict(), indent=1))  # noqa: T201
        return GATE_FAILED if contradicted else 0
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if 0 < i < 4 or column == "ms" else "left", overflow="fold")
    for row in table_rows(found.searched):
        table.add_row(*row)
    print_line(table)
    print_line(explanations.why_won(found.searched), markup=False)
    for line in explanations.not_judged(found.searched):
        print_line(f"too few rows to be judged, {line}", markup=False)
    comparison = found.audit.comparisons[0]
    print_line(f"on the test rows: {comparison.verdict} ({comparison.headline})", markup=False)
    print_line(f"{folder}: {found.artifact.size:,} bytes; search.md tells how it was found", markup=False)
    return GATE_FAILED if contradicted else 0
