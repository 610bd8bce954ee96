"""`fairpress report`: the report of a finished study, in files and on the terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from fairpress.cli.app import app, print_line, show_audit
from fairpress.cli.exit_codes import TRIALS_FAILED
from fairpress.cli.written import print_files

if TYPE_CHECKING:
    from fairpress.studies.report.result import StudyResult


Verbose = Annotated[bool, Parameter(negative="", show_default=False)]


@app.command(name="report")
def report(
    folder: Path,
    /,
    *,
    store: str | None = None,
    pdf: Path | None = None,
    latex: Path | None = None,
    csv: Path | None = None,
    figures: str = "",
    cards: Path | None = None,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    verbose: Verbose = False,
) -> int:
    """Rewrite the report of a finished study from its kept results, without training.

    Example: fairpress report runs/compas

    Parameters
    ----------
    folder
        The folder written by fairpress study run.
    store
        Where its results are kept; by default .store next to the folder.
    pdf
        Also print the report as PDF here. Needs Chromium, Chrome or Edge on this machine.
    latex
        Also write the tables, the claims and all audits as LaTeX here.
    csv
        Write every number into CSV files in this folder.
    figures
        Also write every figure in other formats: pdf,png.
    cards
        Write a model card (README.md) for every model into a subfolder of this folder.
    force
        Replace a file at --latex or --pdf that fairpress did not write.
    verbose
        Print all tables instead of one row per recipe.
    """
    from fairpress.core.output import check_files, check_shared_folder, write_file, write_files
    from fairpress.core.ownership import read_manifest
    from fairpress.reporting.pdf import find_browser, write_pdf
    from fairpress.studies.report import publish
    from fairpress.studies.report.rewrite import report_again

    formats = publish.figure_formats(figures)
    study_files = [folder / name for name in ("study.json", *(read_manifest(folder) or ()))]
    outputs = {"--latex": latex, "--pdf": pdf}
    check_files(outputs, inputs=study_files, kinds={"--latex": ".tex", "--pdf": ".pdf"}, force=force)
    browser = None if pdf is None else find_browser()
    for option, path in (("--csv", csv), ("--cards", cards)):
        if path is not None:
            check_shared_folder(path, option=option)
    done = report_again(folder, store=store)
    if latex is not None:
        write_file(latex, publish.as_latex(done), kind=".tex", force=force)
    if csv is not None:
        write_files(csv, {name: text.encode() for name, text in publish.as_csv(done).items()}, prune=False)
    if cards is not None:
        texts = publish.cards(done, publish.datasets_of(done))
        write_files(cards, {f"{name}/README.md": text.encode() for name, text in texts.items()}, prune=False)
    if pdf is not None and browser is not None:
        write_pdf(
            (done.folder / "report.html").read_text(encoding="utf-8"), pdf, browser=browser, force=force
        )
    drawn = publish.figures(done, formats)
    show_study(done, verbose=verbose)
    print_files([path for path in (pdf, latex, csv, cards) if path is not None], False)
    if drawn:
        print_line(
            f"Written: {len(drawn)} figures in {done.folder / 'figures'}", markup=False, soft_wrap=True
        )
    for task in done.outcome.skipped:
        sys.stderr.write(f"without: {task.title}, which has no result\n")
    return 0 if done.outcome.complete else TRIALS_FAILED


def show_study(done: StudyResult, *, verbose: bool = False, seconds: float | None = None) -> None:
    """Print one row per recipe and what to open; with `verbose`, all audits, bias, claims and sizes of a study before it.

    `seconds` is how long the study ran, None if it was not run.
    """
    from fairpress.studies.report.ending import StudyEnding

    if verbose:
        _show_tables(done)
    print_line(StudyEnding(done, seconds=seconds, verbose=verbose))


def _show_tables(done: StudyResult) -> None:
    from fairpress.studies.report.sections import accuracies

    for warning in done.warnings:
        print_line(f"[bold red]{warning}[/]", soft_wrap=True)
    several = len({p.part.label for p in done.planned}) > 1
    for planned, section in zip(done.planned, done.sections, strict=True):
        audit = section.audit
        print_line(f"\n[bold underline]{section.title}[/]")
        if planned.is_compression:
            show_audit(audit, all_groups=True)
        else:
            for sentence in accuracies(audit):
                print_line(sentence, markup=False)
    if several:
        _show_bias(done)
    if done.claims:
        from fairpress.reporting.claims import lines

        print_line("\n[bold underline]Claims[/]")
        for part in lines(done.claims):
            print_line(part, markup=False)
    if done.tradeoff is not None:
        from fairpress.reporting.tradeoff import render

        print_line("\n[bold underline]Size, accuracy, bias[/]")
        for part in render(done.tradeoff):
            print_line(part, markup=False)
        return
    print_line("")
    for m in done.models:
        print_line(
            f"{m.name:>20}  {m.bytes / 1e3:7.1f} KB  {m.smaller:5.2f}× smaller  {m.gzip_bytes / 1e3:7.1f} KB gzipped"
        )


def _show_bias(done: StudyResult) -> None:
    from rich.table import Table

    from fairpress.reporting.tradeoff import short

    print_line("\n[bold underline]Bias: the sum over pairs of groups of |ΔTPR| + |ΔTNR|[/]")
    for part in dict.fromkeys(f.part for f in done.bias):
        table = Table(title=part, title_justify="left", box=None, pad_edge=False)
        for column in ("by", "compressed against", "before → after", "change", ""):
            table.add_column(column, no_wrap=True)
        for f in done.bias:
            if f.part == part:
                against = "its placebo" if f.against.startswith("placebo") else f.against
                values = " → ".join(short(e, interval=False) for e in (f.before, f.after))
                row = (f.attribute, f"{f.model} against {against}", values, short(f.change, sign="+"))
                table.add_row(*row, f.word)
        print_line(table)
