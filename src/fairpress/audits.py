"""The public functions about tables of predictions: audit one, count it into cells, put what was found into a model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fairpress import __version__
from fairpress.auditing.result import Audit, Verdict
from fairpress.auditing.verdict import WORST_FIRST
from fairpress.core.errors import UserError
from fairpress.core.files import write_text
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.table_file import write_table

if TYPE_CHECKING:
    import pyarrow as pa


class AuditReport(Audit):
    """An audit that can be judged at a glance, written and read."""

    @property
    def verdict(self) -> Verdict | None:
        """The worst verdict over all compressed models; None when there is none."""
        found = {c.verdict for c in self.comparisons}
        return next((v for v in WORST_FIRST if v in found), None)

    def __str__(self) -> str:
        """Return the audit as the command line prints it, without colours."""
        from fairpress.reporting.terminal import plain

        return plain(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as audit.json holds it."""
        from fairpress.auditing.schema import to_dict

        return to_dict(self)

    def to_html(
        self, path: str | os.PathLike[str] | None = None, *, title: str = "Audit", banner: str = ""
    ) -> str:
        """Return the one-file report, and write it where a path is given."""
        from fairpress.reporting.html import Section, render

        made_by = {k: str(v) for k, v in self.provenance.items()}
        page = render([Section(title, self)], title=title, banner=banner, made_by=made_by)
        if path is not None:
            write_text(path, page)
        return page

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the audit as Markdown for a pull request, and write it where a path is given."""
        from fairpress.reporting.markdown import render

        return _written(path, render(self))

    def to_latex(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the audit as LaTeX tables (booktabs), and write them where a path is given."""
        from fairpress.reporting.latex import render

        return _written(path, render(self))

    def four_fifths(self, model: str) -> str:
        """Return the impact ratios of a model as Markdown tables; `auditing.four_fifths` has the numbers."""
        from fairpress.auditing.four_fifths import impact_ratios, selected
        from fairpress.reporting.markdown import escape, four_fifths

        tables = four_fifths(impact_ratios(self, model))
        return f"{escape(selected(self))}\n\n{tables}"


def scoring_ratios(table: Any, model: str, **asked: Any) -> str:
    """Return impact ratios of the scoring rates of a table's ``M.score`` as Markdown; empty without such a column.

    `asked` is `label`, `by`, `positive`, `bins`, `missing` and `confidence`, as in `audit`.
    """
    from fairpress.auditing.four_fifths import scoring_ratios_of
    from fairpress.auditing.source import Source
    from fairpress.reporting.markdown import four_fifths

    return four_fifths(scoring_ratios_of(Source(table), model, **asked))


def embed_audit(model: str | os.PathLike[str], report: Audit, name: str) -> Artifact:
    """Put the summary of what an audit says of model `name` into a model folder's ONNX file, and return it."""
    from fairpress.auditing.summary import summary
    from fairpress.runtime.embed import embed

    artifact = Artifact.load(model)
    artifact = replace(artifact, onnx=embed(artifact.onnx, summary(report, name)))
    artifact.save(model)
    return artifact


def write_card(model: str | os.PathLike[str], report: Audit, name: str) -> str:
    """Write a model card with what an audit says of model `name` into a model folder, as README.md; return its text.

    It is in Hugging Face's format: YAML front matter whose model-index holds every group's rates, then the table.
    A path that ends in ``.md`` is the card itself, for who has predictions and no model: it tells the audit alone.
    Raises UserError where the audit has no such model or the folder is no model.
    """
    from fairpress.reporting.model_card import model_card
    from fairpress.reporting.words import size

    if is_card_file(model):
        return _written(model, model_card(report, name))
    artifact = Artifact.load(model)
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
    return _written(os.path.join(os.fspath(model), "README.md"), text)


def is_card_file(place: str | os.PathLike[str]) -> bool:
    """Tell whether a card is a file of its own, and not the README.md of a model folder."""
    return os.fspath(place).lower().endswith(".md")


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
    correction: str = "holm",
    family: str = "artifact",
    pairs: str | Sequence[str | tuple[Mapping[str, str], Mapping[str, str]]] = (),
    pairs_from: Any = None,
) -> AuditReport:
    """Audit a predictions table; see `fairpress.auditing.run.audit`.

    A table made by `predict` names its models itself: the first is the baseline unless another is named. A list of one name
    may be given as the name alone: ``by="sex"``.
    """
    from fairpress.auditing.run import audit as run

    named = _models_of(table)
    if baseline is None:
        if not named:
            raise UserError("name the baseline's column: baseline='fp32'.")
        baseline = named[0]
    if compressed is None:
        compressed = [n for n in named if n != baseline]
    found = run(
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
    found = replace(found, provenance=_made_by(table))
    return AuditReport(**{name: getattr(found, name) for name in Audit.__dataclass_fields__})


def _made_by(table: Any) -> dict[str, str]:
    """Return the versions an audit rests on, and the table where it is a file."""
    from importlib import metadata

    from fairpress.auditing.warehouse import is_address
    from fairpress.core.addresses import shown

    versions = {name: metadata.version(name) for name in ("duckdb", "numpy", "scipy")}
    paths = table if isinstance(table, (list, tuple)) else [table]
    named = [
        shown(str(p)) if is_address(p) else os.fspath(p) for p in paths if isinstance(p, (str, os.PathLike))
    ]
    return {"fairpress": __version__, **versions, **({"table": ", ".join(named)} if named else {})}


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
) -> pa.Table:
    """Count a predictions table into cells, and write them as Parquet where a path is given.

    The table of cells can be audited in place of the rows, alone or with those of other sites:
    ``audit([cells_a, cells_b], …)``. Arguments are those of `audit`.
    """
    from fairpress.auditing.cells_file import cells_table
    from fairpress.auditing.run import attributes_of, count, listed, open_source

    source = open_source(table)
    cells = count(
        source,
        label=label,
        models=[baseline, *listed(compressed, "compressed")],
        by=attributes_of(listed(by, "by"), source.columns),
        positive=positive,
        decide=decide,
        weight=weight,
        bins=bins,
        missing=missing,
    )
    found = cells_table(cells, label, weight is not None)
    if path is not None:
        write_table(path, found)
    return found


def _written(path: str | os.PathLike[str] | None, text: str) -> str:
    if path is not None:
        write_text(path, text)
    return text


def _models_of(table: Any) -> list[str]:
    from fairpress.auditing.source import arrow_schema

    metadata = getattr(arrow_schema(table), "metadata", None) or {}
    text = metadata.get(b"fairpress.models", b"").decode()
    return text.split("\n") if text else []
