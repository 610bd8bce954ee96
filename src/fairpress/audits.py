"""Public functions for tables of predictions: audit them, export cells, add the results to a model folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fairpress.auditing.result import Audit, Verdict
from fairpress.auditing.verdicts.rules import WORST_FIRST
from fairpress.core.attribute import parse_attributes
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.output import CARD, check_files, check_into, write_file, write_into
from fairpress.core.version import __version__
from fairpress.runtime.artifact import ONNX_FILE, Artifact
from fairpress.runtime.predictions_file import write_table

if TYPE_CHECKING:
    import pyarrow as pa


class AuditReport(Audit):
    """The result of an audit, with its verdict, gates and output formats."""

    @property
    def verdict(self) -> Verdict | None:
        """The worst verdict over all compressed models; None when there is none."""
        verdicts = {c.verdict for c in self.comparisons}
        return next((v for v in WORST_FIRST if v in verdicts), None)

    def failures(self, fail_on: str | Sequence[str] = "harm", require: str | Sequence[str] = ()) -> list[str]:
        """Return a sentence for each reason why the audit fails a gate; an empty list where it passes.

        Parameters
        ----------
        fail_on
            ``"harm"`` (harm alone), ``"loss"`` (loss or harm), ``"inconclusive"``, ``"not-assessed"`` (some group lacks rows
            for some judged metric); several as a list or with commas. A void comparison fails under each of them.
        require
            Groups that must be assessed: ``"race=Black,sex=Female"``, ``"sex*race=Female,Black"``.

        Raises
        ------
        UserError
            A gate is unknown, a group is not in the table, or no compressed model is compared.
        """
        from fairpress.auditing.verdicts.gates import failures, gates_of, require_comparison, required_groups

        gates = gates_of(fail_on)
        required = [require] if isinstance(require, str) and require else list(require)
        if gates or required:
            require_comparison(self)
        return failures(self, gates, required_groups(required, self))

    def __str__(self) -> str:
        """Return the audit as the command line prints it, without colours."""
        from fairpress.reporting.terminal import plain

        return plain(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as audit.json holds it."""
        from fairpress.auditing.output.audit_json import to_dict

        return to_dict(self)

    def to_html(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        title: str = "Audit",
        banner: str = "",
        force: bool = False,
    ) -> str:
        """Return the one-file report, and write it where a path is given.

        Raises UserError where the path cannot be written, or holds a file that fairpress did not write and `force` is false.
        """
        from fairpress.reporting.html import Section, render

        made_by = {k: str(v) for k, v in self.provenance.items()}
        page = render([Section(title, self)], title=title, banner=banner, made_by=made_by)
        if path is not None:
            write_file(path, page, kind=".html", force=force)
        return page

    def to_markdown(self, path: str | os.PathLike[str] | None = None, *, force: bool = False) -> str:
        """Return the audit as Markdown for a pull request, and write it where a path is given, as `to_html` does."""
        from fairpress.reporting.markdown import render

        return _write_text(path, render(self), ".md", force)

    def to_latex(self, path: str | os.PathLike[str] | None = None, *, force: bool = False) -> str:
        """Return the audit as LaTeX tables (booktabs), and write them where a path is given, as `to_html` does."""
        from fairpress.reporting.latex import render

        return _write_text(path, render(self), ".tex", force)

    def four_fifths(self, model: str) -> str:
        """Return the impact ratios of a model as Markdown tables; `metrics.impact_ratio` has the numbers."""
        from fairpress.auditing.metrics.impact_ratio import impact_ratios, selected
        from fairpress.reporting.markdown import escape, four_fifths

        tables = four_fifths(impact_ratios(self, model))
        return f"{escape(selected(self))}\n\n{tables}"


def scoring_ratios(table: Any, model: str, **options: Any) -> str:
    """Return the impact ratios of the scoring rates of ``M.score`` as Markdown; empty without such a column.

    `options` are `label`, `by`, `positive`, `bins`, `missing` and `confidence`, as in `audit`.
    """
    from fairpress.auditing.cells.duckdb_source import TableSource
    from fairpress.auditing.metrics.impact_ratio import scoring_ratios_of
    from fairpress.reporting.markdown import four_fifths

    source = TableSource(table)
    by = parse_attributes(options.pop("by"), source.columns)
    return four_fifths(scoring_ratios_of(source, model, by=by, **options))


def embed_audit(model: str | os.PathLike[str], report: Audit, name: str, *, force: bool = False) -> Artifact:
    """Embed the audit summary of model `name` in a model folder's ONNX file, and return the artifact.

    Raises UserError where the folder belongs to another model (`require_same`), unless `force` is given.
    """
    from fairpress.auditing.output.summary import summary
    from fairpress.runtime.onnx.metadata import embed

    content = summary(report, name)
    artifact = Artifact.load(model)
    require_same(model, artifact, report, name, force=force)
    artifact = replace(artifact, onnx=embed(artifact.onnx, content))
    write_into(model, ONNX_FILE, artifact.onnx, force=force)
    return artifact


def write_card(model: str | os.PathLike[str], report: Audit, name: str, *, force: bool = False) -> str:
    """Write a model card with the audit of model `name` into a model folder, as README.md; return its text.

    The format is Hugging Face's: YAML front matter whose model-index holds every group's rates, then the table. For
    predictions without a model folder, a path that ends in ``.md`` is the card itself and holds the audit alone.
    Raises UserError where the audit has no such model, the folder is not a model folder, it belongs to another model
    (`require_same`), or the file was not written by fairpress; `force` allows the last two.
    """
    from fairpress.reporting.formatting import size
    from fairpress.reporting.model_card import model_card

    if is_card_file(model):
        check_files({"the model card": model}, kinds={"the model card": ".md"}, force=force)
        return _write_text(model, model_card(report, name), ".md", force)
    artifact = Artifact.load(model)
    require_same(model, artifact, report, name, force=force)
    card = artifact.card
    shape = card.inputs.get("shape", ())
    task = "image-classification" if len(shape) == 3 else "tabular-classification"
    facts = {
        "recipe": card.recipe,
        "architecture": str(card.architecture.get("name", "")),
        "file": f"model.onnx, {size(artifact.size)}",
        "sha256": artifact.digest,
        "training seed": str(card.seed),
    }
    data = str(card.data.get("name", ""))
    text = model_card(report, name, dataset=data, task=task, facts={k: v for k, v in facts.items() if v})
    write_into(model, CARD, text.encode(), force=force)
    return text


def check_model_outputs(embedded: Sequence[str], cards: Sequence[str], force: bool = False) -> None:
    """Raise UserError, before the audit, for model folders whose ONNX file or card must not be replaced."""
    for folder in embedded:
        check_into(folder, ONNX_FILE, force=force)
    for path in cards:
        if not is_card_file(path):
            check_into(path, CARD, force=force)


def require_same(
    path: str | os.PathLike[str], artifact: Artifact, report: Audit, name: str, *, force: bool = False
) -> None:
    """Raise UserError where a model folder did not produce the predictions of model `name`.

    A table of `predict` records the file that produced them. Without such a record, a folder is refused when it has the name
    of another model of the audit, or when both its recipe and its name differ; `force` accepts it anyway.
    """
    names = [m.name for m in report.models]
    if name not in names:
        raise UserError(f"the audit has no model {name!r}." + did_you_mean(name, names))
    digest = next(m.digest for m in report.models if m.name == name)
    folder, recipe = os.path.basename(os.path.abspath(os.fspath(path))), artifact.card.recipe
    if force or (digest is not None and digest == artifact.digest):
        return
    known_names = {folder, recipe} - {UNKNOWN} if folder != name else set()
    if digest is None and (
        not known_names or name in known_names or not (recipe != UNKNOWN or folder in names)
    ):
        return
    why = (
        "its file did not produce these predictions"
        if digest is not None
        else f"its recipe is {recipe!r}"
        if recipe != UNKNOWN
        else f"its name is {folder!r}"
    )
    raise UserError(
        f"{os.fspath(path)} does not seem to be the model {name!r}: {why}; name the right folder, or use "
        "`force=True`."
    )


UNKNOWN = "fp32"
"""The recipe of a card that does not name one."""


def card_file(path: str | os.PathLike[str]) -> str:
    """Return the path that a model card is written to."""
    return os.fspath(path) if is_card_file(path) else os.path.join(os.fspath(path), CARD)


def is_card_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a card is a separate file instead of the README.md of a model folder."""
    return os.fspath(path).lower().endswith(".md")


def audit(
    table: Any,
    *,
    label: str = "label",
    baseline: str | None = None,
    compressed: Sequence[str] | str | None = None,
    by: Sequence[str] | str,
    positive: str | float | None = None,
    decide: Mapping[str, str] | None = None,
    margin: float = 0.02,
    confidence: float = 0.95,
    metrics: Sequence[str] | str | None = None,
    weight: str | None = None,
    subject: str | None = None,
    seed_column: str | None = None,
    row_id: str = "row_id",
    bins: Mapping[str, Sequence[float]] | None = None,
    missing: str = "group",
    correction: str = "westfall-young",
    family: str = "artifact",
    pairs: str | Sequence[str | tuple[Mapping[str, str], Mapping[str, str]]] = (),
    pairs_from: Any = None,
) -> AuditReport:
    """Audit a predictions table; see `fairpress.auditing.audit.audit`.

    A table written by `predict` records its models, of which the first is the default baseline. A list of one name may be
    given as a string: ``by="sex"``.
    """
    from fairpress.auditing.audit import audit as run

    _check_shares(margin, confidence)
    model_names = _recorded_models(table)
    if baseline is None:
        if not model_names:
            raise UserError("name the column of the baseline, such as `baseline='fp32'`.")
        baseline = model_names[0]
    if compressed is None:
        compressed = [n for n in model_names if n != baseline]
    result = run(
        table,
        label=label,
        baseline=baseline,
        compressed=compressed,
        by=by,
        positive=positive,
        decide=decide,
        margin=margin,
        confidence=confidence,
        metrics=metrics,
        weight=weight,
        subject=subject,
        seed_column=seed_column,
        row_id=row_id,
        bins=bins,
        missing=missing,
        correction=correction,
        family=family,
        pairs=pairs,
        pairs_from=pairs_from,
    )
    digests = _digests(table)
    models = tuple(replace(m, digest=digests.get(m.name)) for m in result.models)
    result = replace(result, models=models, provenance=_provenance(table))
    return AuditReport(**{name: getattr(result, name) for name in Audit.__dataclass_fields__})


def _check_shares(margin: float, confidence: float) -> None:
    """Raise UserError for a margin or confidence out of range, with the value that was probably meant."""
    if not margin > 0:
        raise UserError(f"the margin must be greater than 0, not {margin:g}; 0.02 means 2 percentage points.")
    if margin >= 1:
        meant = (
            f"for {margin:g} percentage points write {margin / 100:g}"
            if margin < 100
            else "0.02 means 2 percentage points"
        )
        raise UserError(f"the margin must be below 1, not {margin:g}; {meant}.")
    if not 0.5 < confidence < 1:
        meant = f"did you mean {confidence / 100:g}?" if 50 < confidence < 100 else "0.95 means 95 %."
        raise UserError(f"the confidence must be between 0.5 and 1, not {confidence:g}; {meant}")


def _digests(table: Any) -> dict[str, str]:
    """Return model → digest of the file that produced its predictions, as recorded by `predict`."""
    from fairpress.auditing.audit import open_source

    runs = {} if isinstance(table, (list, tuple)) else open_source(table).runs()
    return {name: str(run["digest"]) for name, run in runs.items() if run.get("digest")}


def _provenance(table: Any) -> dict[str, str]:
    """Return the versions of the packages that computed the audit, and the path of the table."""
    from importlib import metadata

    from fairpress.auditing.cells.ibis_source import is_address
    from fairpress.core.urls import redact_url

    versions = {name: metadata.version(name) for name in ("duckdb", "numpy", "scipy")}
    paths = table if isinstance(table, (list, tuple)) else [table]
    paths_shown = [
        redact_url(str(p)) if is_address(p) else os.fspath(p)
        for p in paths
        if isinstance(p, (str, os.PathLike))
    ]
    return {
        "fairpress": __version__,
        **versions,
        **({"table": ", ".join(paths_shown)} if paths_shown else {}),
    }


def export_cells(
    table: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    label: str = "label",
    baseline: str,
    compressed: Sequence[str] | str = (),
    by: Sequence[str] | str,
    positive: str | float | None = None,
    decide: Mapping[str, str] | None = None,
    weight: str | None = None,
    bins: Mapping[str, Sequence[float]] | None = None,
    missing: str = "group",
    force: bool = False,
) -> pa.Table:
    """Count a predictions table into cells, and write them as Parquet where a path is given.

    The table of cells can be audited in place of the rows, alone or with those of other sites:
    ``audit([cells_a, cells_b], …)``. Arguments are those of `audit`. An existing file that is not such a table is
    replaced only with `force`.
    """
    from fairpress.auditing.audit import as_list, count, open_source
    from fairpress.auditing.cells.export import cells_table

    source = open_source(table)
    cells = count(
        source,
        label=label,
        models=[baseline, *as_list(compressed, "compressed")],
        by=parse_attributes(as_list(by, "by"), source.columns),
        positive=positive,
        decide=decide,
        weight=weight,
        bins=bins,
        missing=missing,
    )
    exported = cells_table(cells, label, weight is not None)
    if path is not None:
        write_table(path, exported, kind="cells", force=force)
    return exported


def _write_text(path: str | os.PathLike[str] | None, text: str, kind: str, force: bool) -> str:
    if path is not None:
        write_file(path, text, kind=kind, force=force)
    return text


def _recorded_models(table: Any) -> list[str]:
    from fairpress.auditing.cells.duckdb_source import arrow_schema

    schema = arrow_schema(table)
    if isinstance(table, (str, os.PathLike)) and os.fspath(table).lower().endswith((".parquet", ".pq")):
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            schema = pq.read_schema(table)
        except (OSError, pa.ArrowException):  # the audit itself reports the error
            return []
    metadata = getattr(schema, "metadata", None) or {}
    text = metadata.get(b"fairpress.models", b"").decode("utf-8", "replace")
    return text.split("\n") if text else []
