"""`fairpress compare-audits`: the same groups over several releases, with e-values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fairpress.cli.app import app, print_line, write_output


@app.command(name="compare-audits")
def compare_audits(
    *audits: Path,
    metric: str | None = None,
    json_: Annotated[bool, Parameter("--json", negative="", show_default=False)] = False,
) -> int:
    """Show the losses of the same groups over releases, and what their audits show together.

    Example: fairpress compare-audits v1.json v2.json

    Parameters
    ----------
    audits
        Audits of releases, oldest first, written by `fairpress audit … --json > v1.json`. They need the same baseline,
        label, margin, confidence and attributes.
    metric
        The metric to compare; by default the first that the audits judge.
    json_
        Print JSON.
    """
    from fairpress.auditing.monitoring import compare_audits as comparing
    from fairpress.core.errors import UserError
    from fairpress.core.json_file import read_json
    from fairpress.reporting.compared_audits import render

    names = [str(path) for path in audits]
    twice = next((n for i, n in enumerate(names) if n in names[:i]), None)
    if twice is not None:
        raise UserError(f"{twice} is named twice; name each audit once, oldest first.")
    documents = {
        name: read_json(path, "an audit", remedy="write it again with fairpress audit --json")
        for name, path in zip(names, audits, strict=True)
    }
    compared = comparing.compare_audits(documents, metric)
    if json_:
        write_output(json.dumps(comparing.to_dict(compared), indent=1, allow_nan=False))
    else:
        print_line(render(compared), markup=False, soft_wrap=True)
    return 0
