"""`fairpress search`: the smallest model that demonstrably meets group limits."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from fairpress.cli.app import app, print_line, print_sentence, split_list, write_output
from fairpress.cli.exit_codes import GATE_FAILED
from fairpress.cli.progress import progress_callback
from fairpress.cli.written import files_of_data, print_files
from fairpress.core.errors import UserError

RECIPE_WIDTH = 26


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
    data: str | None = None,
    seed: int | None = None,
    threads: int | None = None,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Find the smallest model that demonstrably meets your group limits on held-out data.

    Examples:

    fairpress search base/ --by race,age --max-group-loss 0.02 --budget 30min --out best/

    fairpress search base/ --by sex --max-dp-gap 0.05 --max-bytes 30000 --objective accuracy --out best/

    Candidates without training come first (bit widths, ranges, calibration, mixed precision), then those that fine-tune, if
    they can still win, then proposals of optuna. Calibration rows rank them. Validation rows test a few of them in an order
    fixed in advance, by one-sided bounds. The winner alone is audited on the test rows. Finished candidates are kept: the
    same command resumes from them, even after kill -9.

    Exits with 0 and an artifact; with 1 if its audit on the test rows finds harm or a loss; with 2 if no candidate
    demonstrably meets every limit, naming the closest one, the limit that failed, and whether more rows or a better
    baseline would help.

    Parameters
    ----------
    base
        The model folder of the baseline.
    by
        Sensitive attributes, comma-separated; 'sex*race' for an intersection.
    out
        The new model folder; written only if the search succeeds.
    max_group_loss
        Maximum loss of any group in accuracy or true positive rate, or gain in false positive rate; 0.02 is two percentage
        points.
    max_loss
        Maximum loss of accuracy over all people.
    min_accuracy
        Minimum accuracy.
    max_dp_gap
        Maximum difference between two groups in selection rate (demographic parity).
    max_eo_gap
        Maximum difference between two groups in true positive rate (equal opportunity).
    max_eodds_gap
        Maximum difference between two groups in true or false positive rate (equalized odds).
    max_accuracy_gap
        Maximum difference between two groups in accuracy.
    max_dp_gap_rise
        Maximum increase of the difference in selection rate by compression.
    max_eo_gap_rise
        Maximum increase of the difference in true positive rate by compression.
    max_eodds_gap_rise
        Maximum increase of the difference in true or false positive rate by compression.
    max_accuracy_gap_rise
        Maximum increase of the difference in accuracy by compression.
    max_bytes
        Maximum size of the file in bytes.
    max_latency_ms
        Maximum time of a call with one row on this machine, in milliseconds.
    objective
        The objective: fewest bytes, lowest latency or highest accuracy.
    budget
        A time, such as 30min, or a number of candidates, such as 40.
    recipe
        Another recipe, tried first. May be repeated.
    train
        Whether to try recipes that fine-tune.
    confidence
        Confidence level of the one-sided bounds.
    least_rows
        Minimum rows of a group to be tested; by default enough to rule out harm when 1 % of the predictions change.
        Smaller groups are listed as not assessed; a demonstrated loss of one of them rejects a candidate.
    store
        Folder in which candidates are kept; by default .store next to --out.
    data
        For a Hugging Face folder, or where the card's data are gone: a dataset's name, or a YAML file that describes the
        data.
    seed
        Seed of fine-tuning and of the sampler; by default the baseline's.
    threads
        Threads within an operator while candidates are made; by default one for each core.
    force
        Replace an existing model folder.
    json_
        Print the content of search.json.
    """
    from fairpress import api
    from fairpress.reporting.formatting import break_recipe, verdict_line
    from fairpress.searching import explanations
    from fairpress.searching.candidate_table import COLUMNS, table_rows
    from fairpress.searching.limits import Limits
    from fairpress.searching.write_result import save_result

    given: dict[str, Any] = locals()
    limits = {name: given[name] for name in Limits.model_fields}
    _check_limits(limits)
    from fairpress.runtime.artifact import check_target

    check_target(out, inputs=[base, *files_of_data(data)], force=force)
    result = api.search(
        base,
        data,
        by=split_list(by),
        objective=objective,
        budget=budget,
        recipes=recipe,
        train=train,
        confidence=confidence,
        least_rows=least_rows,
        store=store or out.absolute().parent / ".store",
        seed=seed,
        threads=threads,
        on_message=progress_callback(),
        **limits,
    )
    folder = save_result(result, out, force=force)
    contradicted = result.audit.verdict in ("harm", "loss")
    if json_:
        write_output(json.dumps(result.searched.to_dict(), indent=1))
        print_files([folder], True)
        return GATE_FAILED if contradicted else 0
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(COLUMNS):
        number = 0 < i < 4 or column == "ms"
        table.add_column(column, justify="right" if number else "left", no_wrap=number or i == 0)
    for name, *cells in table_rows(result.searched):
        table.add_row(Text("\n".join(break_recipe(name, RECIPE_WIDTH))), *map(Text, cells))
    print_line(table)
    print_sentence(explanations.explain_winner(result.searched))
    for line in explanations.unjudged_groups(result.searched):
        print_sentence(f"Not assessed, too few rows: {line}")
    comparison = result.audit.comparisons[0]
    print_sentence(f"On the test rows: {verdict_line(comparison)}. {comparison.headline}")
    opened = f"Open {folder / 'search.md'}, which describes the search."
    print_sentence(f"Written: {folder}: {result.artifact.size:,} bytes. {opened}")
    return GATE_FAILED if contradicted else 0


def _check_limits(limits: Mapping[str, float | None]) -> None:
    """Raise UserError for limits that are impossible, or if there is none on rows, in the words of the command line."""
    from fairpress.searching.limits import Limits, limits_of

    for name, value in limits.items():
        share = name not in ("max_bytes", "max_latency_ms")
        if share and value is not None and not 0 < value < 1:
            hint = (
                f"; for {value:g} percentage points write {value / 100:g}" if value >= 1 else ", such as 0.02"
            )
            raise UserError(f"{_option(name)} must be between 0 and 1, not {value:g}{hint}.")
    try:
        limits_of(limits)
    except UserError as error:
        names = "|".join(sorted(Limits.model_fields, key=len, reverse=True))
        text = str(error).removeprefix("constraints: ")
        raise UserError(re.sub(rf"\b(?:{names})\b", lambda m: _option(m[0]), text)) from None


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
