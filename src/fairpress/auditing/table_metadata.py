"""What a predictions table says about itself in its schema: models, units, outcome, and what its reader assumed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.open_source import open_source
from fairpress.auditing.cells.positive_class import task_metadata
from fairpress.auditing.cells.table_readers import PARQUET
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.result import Audit

MODELS = b"fairpress.models"
"""Metadata of a predictions table: the models that `predict` ran, one a line, the first being the default baseline."""
SUBJECT = b"fairpress.subject"
"""The column of the unit of every interval, where rows repeat it; the option `subject` comes first."""
LABEL = b"fairpress.label"
"""The column of true classes, where it is not called ``label``."""
OUTCOME = b"fairpress.outcome"
"""What the models are judged by, as the option `outcome` writes it; absent for classes."""
SOURCES = b"fairpress.sources"
"""The logs that were read, one a line, as ``model=path``; they belong to the provenance of an audit."""
WARNINGS, NOTES = b"fairpress.warnings", b"fairpress.notes"
"""Warnings are sentences, one a line: what a reader of logs left out. Notes are a JSON object of model → sentences; those of
`NO_MODEL` are about the table, such as what a reader assumed."""
NO_MODEL = ""


@dataclass(frozen=True)
class TableDescription:
    """What a reader of logs says about the table that it returns.

    Attributes
    ----------
    models
        The columns of the models; the first is the default baseline.
    classes
        The classes; empty where the outcome is not a class. None of them is positive, unless `positive` names it.
    positive
        The positive class, or None.
    subject
        The column of the unit of every interval, where rows repeat it.
    outcome
        The outcome as text, or None for classes.
    sources
        Model → the log that was read.
    warnings, notes
        Sentences for the audit's warnings and notes.
    label
        The column of true classes.
    """

    models: tuple[str, ...]
    classes: tuple[str, ...] = ()
    positive: str | None = None
    subject: str | None = None
    outcome: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    label: str = "label"

    def metadata(self) -> Mapping[str, str]:
        """Return the schema metadata of the table."""
        entries = {
            MODELS: "\n".join(self.models),
            LABEL: self.label if self.label != "label" else None,
            SUBJECT: self.subject,
            OUTCOME: self.outcome,
            SOURCES: _lines([f"{model}={path}" for model, path in self.sources.items()]),
            WARNINGS: _lines(self.warnings),
            NOTES: _notes(self.notes),
        }
        recorded = {key.decode(): value for key, value in entries.items() if value}
        if not self.classes:
            return recorded
        return recorded | task_metadata(
            "label", self.classes, self.positive, no_positive=self.positive is None
        )


def recorded_text(source: TableSource, key: bytes) -> str | None:
    """Return what a table records under a key; None for several tables, which may differ in it."""
    for _, value in source.metadata(key) if source.single else ():
        return value.decode("utf-8", "replace") or None
    return None


def recorded_outcome(table: Any) -> str | None:
    """Return the outcome that a table records, as the option `outcome` writes it; None for a class."""
    source = _described(table)
    return None if source is None else recorded_text(source, OUTCOME)


def recorded_options(table: Any, options: AuditOptions) -> AuditOptions:
    """Return the options with the subject and the label that a table records, where none is given."""
    source = _described(table)
    if source is None:
        return options
    recorded: dict[str, str | None] = {}
    if options.subject is None:
        recorded["subject"] = recorded_text(source, SUBJECT)
    if options.label not in source.columns:
        recorded["label"] = recorded_text(source, LABEL)
    update = {name: text for name, text in recorded.items() if text is not None}
    return options.with_changes(**update) if update else options


def with_recorded(audit: Audit, table: Any) -> Audit:
    """Return an audit of a table that begins with the warnings and notes that the table records, and names its sources."""
    source = _described(table)
    if source is None:
        return audit
    warnings, notes = _sentences(source, WARNINGS), _sentences(source, NOTES)
    sources = _sentences(source, SOURCES)
    provenance = {**audit.provenance, **({"logs": ", ".join(sources)} if sources else {})}
    return replace(
        audit,
        warnings=(*warnings, *audit.warnings),
        notes=(*notes, *audit.notes),
        provenance=provenance,
    )


def with_records_of(table: Any, copy: Any) -> Any:
    """Return an Arrow table that was made of another one, with what this records for the audit."""
    source = _described(table)
    if source is None:
        return copy
    kept = {key.decode(): _lines(_sentences(source, key)) for key in (SOURCES, WARNINGS)}
    kept[NOTES.decode()] = _notes(_sentences(source, NOTES))
    metadata = {k: v for k, v in kept.items() if v}
    return copy.replace_schema_metadata({**(copy.schema.metadata or {}), **metadata}) if metadata else copy


def _described(table: Any) -> TableSource | None:
    """Return a source of a table that may have schema metadata: Arrow, Parquet, or an open source."""
    if isinstance(table, TableSource):
        return table
    is_file = isinstance(table, (str, os.PathLike)) and os.fspath(table).lower().endswith(PARQUET)
    return open_source(table) if is_file or type(table).__module__.startswith("pyarrow") else None


def _sentences(source: TableSource, key: bytes) -> tuple[str, ...]:
    """Return the recorded lines of one or several tables."""
    texts = (value.decode("utf-8", "replace") for _, value in source.metadata(key))
    lines = (line for text in texts for line in _sentences_of_models(text) or text.splitlines())
    return tuple(dict.fromkeys(line for line in lines if line.strip()))


def _sentences_of_models(text: str) -> list[str]:
    """Return the sentences of a JSON object of model → sentences, each once after its models; none of other text.

    Other text is that of tables of earlier releases, whose readers of logs wrote notes one a line.
    """
    try:
        notes = json.loads(text)
    except ValueError:
        return []
    if not isinstance(notes, dict) or not all(isinstance(sentences, list) for sentences in notes.values()):
        return []
    models_of: dict[str, list[str]] = {}
    for name, sentences in notes.items():
        for sentence in sentences:
            models_of.setdefault(str(sentence), []).extend([repr(name)] if name != NO_MODEL else [])
    return [f"{', '.join(names)}: {text}." if names else text for text, names in models_of.items()]


def _notes(sentences: Sequence[str]) -> str:
    """Return notes on a table as `NOTES` has them; empty without notes."""
    return (
        json.dumps({NO_MODEL: [" ".join(s.split()) for s in sentences]}, ensure_ascii=False)
        if sentences
        else ""
    )


def _lines(sentences: Sequence[str]) -> str:
    return "\n".join(" ".join(sentence.split()) for sentence in sentences)
