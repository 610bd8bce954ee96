"""`fairpress demo` and `fairpress doctor`: the first minute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from fairpress.cli.app import app, print_line, show_audit, write_output
from fairpress.cli.exit_codes import GATE_FAILED
from fairpress.cli.written import print_files


@app.command
def demo(*, out: Path = Path("fairpress-demo")) -> int:
    """Audit a synthetic table in which one group is harmed; needs no network, no torch and no real data.

    Example: fairpress demo

    Parameters
    ----------
    out
        Folder for the table and its report.
    """
    from fairpress import api, demo_data
    from fairpress.core.output import check_shared_folder, write_files

    check_shared_folder(out)
    csv = out / "predictions.csv"
    # Files that fairpress wrote before are kept: the folder may be that of a model or a study.
    write_files(out, {csv.name: demo_data.csv_text().encode()}, prune=False)
    report = api.audit(
        csv,
        baseline=demo_data.BASELINE,
        compressed=list(demo_data.COMPRESSED),
        by=demo_data.BY,
        positive="yes",
    )
    page = report.to_html(title="Demonstration: one group pays", banner=demo_data.BANNER)
    write_files(out, {"report.html": page.encode()}, prune=False)
    print_line(f"[bold yellow]{demo_data.BANNER}[/]")
    show_audit(report)
    by = ",".join(demo_data.BY)
    print_line("")
    print_files([csv, out / "report.html"], False)
    print_line("The same as a command:")
    print_line(
        f"  fairpress audit {csv} --baseline fp32 --compressed int8,int4 --positive yes --by '{by}'",
        markup=False,
        soft_wrap=True,
    )
    return 0


@app.command
def doctor(*, json_: Annotated[bool, Parameter("--json")] = False) -> int:
    """Show installed packages, working runtimes and extras, and the capabilities of this machine.

    Example: fairpress doctor

    Parameters
    ----------
    json_
        Print JSON.
    """
    from dataclasses import asdict

    from fairpress.cli.doctor_checks import all_passed, diagnose

    findings = diagnose()
    if json_:
        write_output(json.dumps([asdict(f) for f in findings], indent=1))
    else:
        for f in findings:
            sign = {True: "ok     ", None: "absent ", False: "BROKEN "}[f.ok]
            print_line(f"{sign} {f.what}: {f.detail}", markup=False)
        print_line("\nNext: fairpress demo")
    return 0 if all_passed(findings) else GATE_FAILED
