"""The last tasks of a study: join predictions, audit them, and draw figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fairpress.auditing.result import Audit
from fairpress.core.errors import FairpressError, UserError
from fairpress.runtime.predictions_file import TASK_KEY
from fairpress.store.local import Entry, Store
from fairpress.studies.config.network_facts import NetworkFacts, facts_json, parse_facts
from fairpress.studies.config.store_files import (
    FACTS,
    MODELS,
    PREDICTIONS,
    parquet_bytes,
    read_entry,
    read_table,
)
from fairpress.studies.planning.plan import StudyTask

if TYPE_CHECKING:
    import pyarrow as pa
    from pydantic import TypeAdapter

    from fairpress.auditing.options import AuditOptions

AUDIT, FIGURES, BIAS = "audit.json", "figures.json", "bias.json"
KEYS = ("seed", "row_id")
FOLDS = 1000  # more than the maximum number of folds


def join_predictions(store: Store, task: StudyTask) -> dict[str, bytes]:
    """Join the prediction columns of several models, on identical or on common rows.

    ``params``: `columns`, a list of [name in the result, model, positions of its inputs]; `networks`, the (seed, fold) to
    include; `rows`, ``"same"`` to require identical rows, ``"common"`` to take those that all models have.

    Raises
    ------
    FairpressError
        The rows differ with ``"same"``, or common rows have different labels.
    """

    networks = [tuple(n) for n in task.params["networks"]]
    joined: pa.Table | None = None
    task_metadata: bytes | None = None
    facts: list[NetworkFacts] = []
    for name, model, inputs in task.params["columns"]:
        entries = [read_entry(store, task.inputs[i]) for i in inputs]
        facts += [f for e in entries for f in parse_facts(e.files[FACTS]) if (f.seed, f.fold) in networks]
        stacked = _stack(entries, networks)
        task_metadata = (stacked.schema.metadata or {}).get(TASK_KEY.encode(), task_metadata)
        table = _rename(stacked, model, name)
        joined = table if joined is None else _append_columns(joined, table, name, task.params["rows"])
    assert joined is not None
    if task_metadata is not None:  # renaming and joining drop the metadata
        joined = joined.replace_schema_metadata({TASK_KEY: task_metadata})
    return {PREDICTIONS: parquet_bytes(joined), MODELS: facts_json(facts)}


def audit_predictions(store: Store, task: StudyTask) -> dict[str, bytes]:
    """Audit the joined predictions, estimate changes of pairwise bias, and draw the figures.

    ``params["audit"]`` are fields of `AuditOptions`.
    """
    from fairpress.auditing.audit_table import audit_table
    from fairpress.auditing.options import AuditOptions
    from fairpress.reporting.html import Section, draw

    table = read_table(read_entry(store, task.inputs[0]))
    options = AuditOptions(**task.params["audit"])
    # The study's manifest records the versions once; the entry does not depend on them.
    result = replace(audit_table(table, options), provenance={})
    drawn = draw([Section("", result)])
    figure_keys = {f"{i}.svg": [compressed, metric] for i, (_, compressed, metric) in enumerate(drawn)}
    return {
        AUDIT: dump(result),
        FIGURES: json.dumps(figure_keys).encode(),
        BIAS: json.dumps(bias_changes(table, options), indent=1).encode(),
        **{name: svg.encode() for name, svg in zip(figure_keys, drawn.values(), strict=True)},
    }


def bias_changes(table: pa.Table, options: AuditOptions) -> list[dict[str, Any]]:
    """Return the pairwise bias before and after, and its change, for each compressed model and attribute.

    The result is empty for a task of several classes without a positive class.
    """
    from fairpress.auditing.statistics.pairwise_bias_change import bias_change
    from fairpress.studies.analysis.prediction_arrays import PredictionArrays

    if options.positive is None or options.baseline is None or not options.compressed:
        return []
    models = [options.baseline, *options.compressed]
    stacked = PredictionArrays(table, models, options.positive, options.subject is not None)
    changes = []
    for attribute in options.by:
        groups = stacked.compared_groups(attribute)
        sums, has_interval = stacked.bias_products(attribute, groups)
        before = [1.0, *[0.0] * len(options.compressed)]
        for i, model in enumerate(options.compressed, start=1):
            after = [float(j == i) for j in range(len(models))]
            estimates = {
                "before": bias_change(sums, before, None, options.confidence),
                "after": bias_change(sums, after, None, options.confidence),
                "change": bias_change(sums, after, before, options.confidence),
            }
            if not has_interval:
                estimates = {k: replace(e, low=None, high=None) for k, e in estimates.items()}
            named = {
                "model": model,
                "against": options.baseline,
                "attribute": attribute,
                "groups": groups,
            }
            changes.append({**named, **{k: e.to_dict() for k, e in estimates.items()}})
    return changes


def read_figures(entry: Entry) -> dict[tuple[str, str], str]:
    """Return (compressed model, metric) → SVG of a finished audit task."""
    figure_keys: Mapping[str, Sequence[str]] = json.loads(entry.files[FIGURES])
    return {(compressed, metric): entry.files[n].decode() for n, (compressed, metric) in figure_keys.items()}


def dump(audit: Audit) -> bytes:
    """Serialize an audit completely for `restore`, unlike the reader's audit.json."""
    return json.dumps(_adapter().dump_python(audit), allow_nan=True).encode()


def restore(data: bytes) -> Audit:
    """Return the audit serialized by `dump`."""
    return _adapter().validate_python(json.loads(data))


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[Audit]:
    from pydantic import TypeAdapter

    return TypeAdapter(Audit)


def _stack(entries: Sequence[Entry], networks: Sequence[tuple[int, ...]]) -> pa.Table:
    """Return the rows of the given networks, sorted by seed and row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = pa.concat_tables([read_table(entry) for entry in entries])
    pairs = pc.add(pc.multiply(table["seed"], FOLDS), table["fold"])
    keep = pc.is_in(pairs, value_set=pa.array([seed * FOLDS + fold for seed, fold in networks], pa.int64()))
    return table.filter(keep).sort_by([(key, "ascending") for key in KEYS])


def _rename(table: pa.Table, model: str, name: str) -> pa.Table:
    if name != model and name in table.column_names:
        raise UserError(
            f"{name!r} cannot be a label, because the predictions have a column of that name; choose another label."
        )
    return table.rename_columns(
        [
            name + c[len(model) :] if c == model or c.startswith(f"{model}.score") else c
            for c in table.column_names
        ]
    )


def _append_columns(base: pa.Table, table: pa.Table, name: str, rows: str) -> pa.Table:
    """Append the columns of a model to a table of predictions."""
    same = all(base[key].equals(table[key]) for key in KEYS)
    if not same and rows == "same":
        raise FairpressError(f"the predictions of {name} are not for the same rows as those of the baseline.")
    if not same:
        common = base.select(KEYS).join(table.select(KEYS), keys=list(KEYS), join_type="inner")
        if not common.num_rows:
            raise FairpressError(
                f"the test rows of {name} have none in common with those it is compared with; set `folds` of the study."
            )
        base, table = _matching_rows(base, common), _matching_rows(table, common)
    if not base["label"].equals(table["label"]):
        raise FairpressError(
            f"{name} has different labels on the same rows; only variants of one dataset can be compared."
        )
    for column in table.column_names:
        if column == name or column.startswith(f"{name}.score"):
            base = base.append_column(column, table[column])
    return base


def _matching_rows(table: pa.Table, keys: pa.Table) -> pa.Table:
    matches: Any = table.join(keys, keys=list(KEYS), join_type="inner").select(table.column_names)
    return matches.sort_by([(key, "ascending") for key in KEYS])
