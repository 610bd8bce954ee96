"""`fairpress data …`: the datasets."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import Annotated

from cyclopts import Parameter

from fairpress.cli.app import CommandGroup, app, print_line, print_sentence, write_output
from fairpress.cli.exit_codes import GATE_FAILED
from fairpress.cli.usage_errors import in_options
from fairpress.core.errors import UserError
from fairpress.core.output_kind import DESCRIPTIONS

MAX_FILES = 8

data = CommandGroup(name="data", help="List, fetch and check datasets.")
app.command(data)


@data.command(name="list")
def data_list(*, json_: Annotated[bool, Parameter("--json", negative="", show_default=False)] = False) -> int:
    """List the datasets that ship with fairpress: rows, groups, license, and whether they are on this machine.

    Example: fairpress data list

    Parameters
    ----------
    json_
        Print JSON: a list of {"name": …, "state": …, "title": …, "kind": …, "rows": …, "label": …, "groups": …,
        "license": …}.
    """
    from rich.table import Table

    from fairpress.datasets.catalogue import catalogue

    entries = catalogue()
    if json_:
        content = [{"name": e.name, "state": e.state, **asdict(e.description)} for e in entries]
        write_output(json.dumps(content, indent=1))
        return 0
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("what")
    table.add_column("rows", justify="right", no_wrap=True)
    for column in ("groups", "license named by the source", "files"):
        table.add_column(_between_words(column), no_wrap=True)
    for e in entries:
        d = e.description
        rows = "" if d.rows is None else f"{d.rows:,}"
        cells = map(_between_words, (", ".join(d.groups), d.license, e.state))
        table.add_row(e.name, d.title, rows, *cells)
    print_line(table)
    print_line(
        "\nNext: fairpress data check NAME. Files by hand: fairpress data fetch NAME prints where to get them. "
        "Your own data: describe them in a YAML file, docs/your-own-data.md.",
        markup=False,
    )
    return 0


def _between_words(cell: str) -> str:
    """Break a cell so that the longest words of the catalog stay whole in a table of 80 columns."""
    return "\n".join(wrap(cell, 14, break_long_words=False, break_on_hyphens=False))


@data.command(name="fetch")
def data_fetch(name: str, /) -> int:
    """Download a dataset's files and verify them by sha256.

    Example: fairpress data fetch compas

    Parameters
    ----------
    name
        A dataset's name.
    """
    from fairpress import datasets

    files = datasets.fetch(name)
    for path in files[:MAX_FILES]:
        print_line(str(path), markup=False, soft_wrap=True)
    if len(files) > MAX_FILES:
        print_line(f"… and {len(files) - MAX_FILES} more in the same folder")
    print_line(f"Next: fairpress data check {name}", markup=False)
    return 0


@data.command(name="check")
def data_check(
    name: str,
    /,
    *,
    tokenizer: Path | None = None,
    strict: bool = False,
    json_: Annotated[bool, Parameter("--json")] = False,
) -> int:
    """Check a dataset for problems that mislead an audit: leaks, ids, codes, copies, missing values, small groups.

    Prints the base rate of each group and part (of texts also lengths and scripts), notes on how the data were read, and
    warnings.

    Example: fairpress data check my.yaml

    Parameters
    ----------
    name
        A dataset's name, or a YAML file that describes a table, images or texts.
    tokenizer
        Of texts, show how many tokens each group's have: a tokenizer.json, or a folder that has one, such as a model's.
    strict
        Exit with 1 when there is a warning.
    json_
        Print JSON.
    """
    from fairpress import datasets
    from fairpress.auditing.verdicts.rules import floor_rows
    from fairpress.datasets.checks.base_rates import rates_table
    from fairpress.datasets.checks.dataset import check_dataset
    from fairpress.datasets.checks.text_scripts import texts_table

    dataset = datasets.load(name)
    tokens = None
    if tokenizer is not None:
        from fairpress.tokenization.token_counts import token_counts

        if dataset.texts is None:
            raise UserError(f"--tokenizer counts the tokens of texts, and {name} has none; leave it out.")
        tokens = token_counts(tokenizer, dataset.texts)
    findings = check_dataset(dataset, floor_rows())
    if json_:
        write_output(json.dumps([asdict(f) for f in findings], indent=1))
    else:
        parts = ", ".join(f"{part} {len(index):,}" for part, index in dataset.parts.items())
        task = dataset.task
        described = ", ".join(task.classes) or DESCRIPTIONS[task.outputs]
        print_line(
            f"{name}: {len(dataset):,} rows ({parts}), label {task.target!r}: {described}",
            markup=False,
        )
        for line in [
            *(rates_table(dataset) if task.outputs == "classes" else []),
            *(texts_table(dataset, tokens) if dataset.kind == "text" else []),
        ]:
            print_line(f"  {line}", markup=False, soft_wrap=True)
        for note in [n for n in dataset.notes if n not in {f.sentence for f in findings}]:
            print_sentence(f"note: {note}")
        for f in findings:
            print_sentence(in_options(f"warning: {f.sentence}", ("--subject",)))  # of `fairpress audit`
        if not findings:
            print_line("no warnings", markup=False)
    return GATE_FAILED if strict and findings else 0
