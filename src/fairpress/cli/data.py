"""`fairpress data …`: the datasets."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter

from fairpress.cli.app import app, print_line
from fairpress.cli.exit_codes import GATE_FAILED

data = App(name="data", help="Look at the datasets that ship with fairpress.")
app.command(data)


@data.command(name="list")
def data_list() -> int:
    """List the datasets that ship with fairpress."""
    from fairpress import datasets

    for name in datasets.names():
        print_line(name, markup=False)
    return 0


@data.command(name="fetch")
def data_fetch(name: str, /) -> int:
    """Bring a dataset's files onto this machine, checked by sha256.

    Example: fairpress data fetch compas

    Parameters
    ----------
    name
        A dataset's name.
    """
    from fairpress import datasets

    for path in datasets.fetch(name):
        print_line(str(path), markup=False)
    return 0


@data.command(name="check")
def data_check(
    name: str, /, *, strict: bool = False, json_: Annotated[bool, Parameter("--json")] = False
) -> int:
    """Look for what would make an audit on this data misleading: leaks, ids, codes, copies, missing values, small groups.

    Prints how often the positive class occurs in each group and part, notes on how the table was read, and warnings.

    Example: fairpress data check my.yaml

    Parameters
    ----------
    name
        A dataset's name, or a YAML file that describes a table or images.
    strict
        Exit with 1 when there is a warning.
    json_
        Print JSON.
    """
    from fairpress import datasets
    from fairpress.auditing.verdicts.rules import floor_rows
    from fairpress.datasets.checks.base_rates import rates_table
    from fairpress.datasets.checks.dataset import check_dataset

    dataset = datasets.load(name)
    found = check_dataset(dataset, floor_rows())
    if json_:
        print(json.dumps([asdict(f) for f in found], indent=1))  # noqa: T201
    else:
        parts = ", ".join(f"{part} {len(index):,}" for part, index in dataset.parts.items())
        task = dataset.task
        print_line(
            f"{name}: {len(dataset):,} rows ({parts}), label {task.target!r}: {', '.join(task.classes)}",
            markup=False,
        )
        for line in rates_table(dataset):
            print_line(f"  {line}", markup=False, soft_wrap=True)
        for note in [n for n in dataset.notes if n not in {f.sentence for f in found}]:
            print_line(f"note: {note}", markup=False, soft_wrap=True)
        for f in found:
            print_line(f"warning: {f.sentence}", markup=False, soft_wrap=True)
        if not found:
            print_line("nothing to warn of", markup=False)
    return GATE_FAILED if strict and found else 0
