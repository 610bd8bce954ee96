"""Options of `fairpress audit` that read logs of evaluations in place of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from fairpress.core.errors import UserError

Files = Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="", show_default=False)]
Text = Annotated[str, Parameter(show_default=False)]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]


@dataclass(frozen=True)
class LogOptions:
    """Logs of evaluations, and what to read in them.

    Parameters
    ----------
    lm_eval
        Audit logs of lm-evaluation-harness in place of a table: base=out/fp16/ q4=out/q4/, folders or samples_….jsonl of
        --log_samples. The first is the baseline.
    inspect
        Audit logs of inspect_ai in place of a table: base=a.eval q4=b.eval, logs or folders.
    pair_files
        Audit a file of predictions per model, joined by --key: base=a.jsonl q4=b.jsonl (JSON lines, CSV or Parquet).
    tasks
        Tasks of the logs to read, comma-separated; patterns such as 'xnli_*' are allowed.
    log_metric
        Metric (lm-eval) or scorer (inspect_ai), where a log has several.
    log_filter
        Filter of the answers (lm-eval), where a task has several.
    better
        higher or lower, for a metric that is a number of which the log does not say it.
    same
        What must be the same for all models: doc,prompt,target (lm-eval), input,target (inspect_ai); all by default.
    drop_unpaired
        Leave out items that are missing on one side, occur twice, or are other ones, and list them, in place of an error.
    key
        With --pair-files: columns that identify a row in every file, comma-separated.
    prediction
        With --pair-files: column of the predictions (prediction).
    correct
        With --pair-files: column that says whether an answer was right, in place of label and prediction.
    """

    lm_eval: Files = ()
    inspect: Files = ()
    pair_files: Files = ()
    tasks: Text = ""
    log_metric: str | None = None
    log_filter: str | None = None
    better: str | None = None
    same: Text = ""
    drop_unpaired: Flag = False
    key: Text = ""
    prediction: str | None = None
    correct: str | None = None


@dataclass(frozen=True)
class LogTable:
    """The table of logs: model → path in the order given, and what reports call the audit."""

    table: Any
    models: dict[str, str]

    @property
    def files(self) -> list[str]:
        """The files of the logs, of which no output may take the place."""
        paths = [Path(path) for path in self.models.values()]
        return [str(f) for p in paths for f in (p.rglob("*") if p.is_dir() else [p]) if f.is_file()]

    @property
    def title(self) -> str:
        first, *others = self.models
        return f"{', '.join(others)} against {first}" if others else first


_READERS = {"lm_eval": "--lm-eval", "inspect": "--inspect", "pair_files": "--pair-files"}
_OF_READER = {
    "tasks": ("lm_eval", "inspect"),
    "log_metric": ("lm_eval", "inspect"),
    "log_filter": ("lm_eval",),
    "better": ("lm_eval", "inspect"),
    "same": ("lm_eval", "inspect"),
    "drop_unpaired": ("lm_eval", "inspect", "pair_files"),
    "key": ("pair_files",),
    "prediction": ("pair_files",),
    "correct": ("pair_files",),
}


def read_logs(
    options: LogOptions, table: str | None, label: str | None, columns: Iterable[str]
) -> LogTable | None:
    """Return the table of the logs that the options name; None where they name none.

    Parameters
    ----------
    table
        The table of the command line, which logs replace.
    label
        The option ``--label``.
    columns
        Columns that other options name; fields of the logs with these names are kept.
    """
    readers = [name for name in _READERS if getattr(options, name)]
    if len(readers) + (table is not None) > 1:
        names = [*(_READERS[name] for name in readers), *(["a table"] if table is not None else [])]
        raise UserError(f"audit one thing at a time: {' and '.join(names)} are given.")
    for name, of in _OF_READER.items():
        if getattr(options, name) and not set(of) & set(readers):
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} goes with {' or '.join(_READERS[reader] for reader in of)}.")
    if not readers:
        return None
    option = _READERS[readers[0]]
    paths = _paths(getattr(options, readers[0]), option)
    return LogTable(_read(options, readers[0], paths, label, tuple(dict.fromkeys(columns))), paths)


def _read(
    options: LogOptions, reader: str, paths: dict[str, str], label: str | None, fields: Sequence[str]
) -> Any:
    from fairpress import api
    from fairpress.cli.app import split_list

    unpaired = "drop" if options.drop_unpaired else "refuse"
    same: dict[str, Any] = {"same": split_list(options.same)} if options.same else {}
    if reader == "pair_files":
        if not options.key:
            raise UserError(
                "name the column that identifies a row in every file with --key, such as --key id."
            )
        names = {"label": label, "prediction": options.prediction, "correct": options.correct}
        given: dict[str, Any] = {name: value for name, value in names.items() if value is not None}
        return api.read_pair(paths, key=split_list(options.key), unpaired=unpaired, **given)
    shared: dict[str, Any] = {"tasks": split_list(options.tasks), "better": options.better, "fields": fields}
    if reader == "inspect":
        return api.read_inspect(paths, scorer=options.log_metric, unpaired=unpaired, **shared, **same)
    return api.read_lm_eval(
        paths, metric=options.log_metric, filter=options.log_filter, unpaired=unpaired, **shared, **same
    )


def _paths(texts: Sequence[str], option: str) -> dict[str, str]:
    """Return model → path of ``name=path`` texts."""
    paths: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or not name.strip() or not path.strip():
            raise UserError(
                f"{option} {text}: write name=path for each model, such as base={text.strip('=')}."
            )
        if name.strip() in paths:
            raise UserError(f"{option}: two models have the name {name.strip()!r}; give each another name.")
        paths[name.strip()] = path.strip()
    return paths
