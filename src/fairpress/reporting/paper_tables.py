"""Tables of rates and gaps in the layouts of papers, with published numbers next to ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairpress.auditing.result import Audit, ModelResult
from fairpress.core.estimate import Estimate
from fairpress.reporting.formatting import format_rate

GAPS = {
    "demographic_parity_difference": "DP gap",
    "equal_opportunity_difference": "EO (TPR gap)",
    "predictive_equality_difference": "FPR gap",
}
RATES = {"accuracy": "accuracy", "tpr": "TPR", "fpr": "FPR"}


@dataclass(frozen=True)
class TableCell:
    """Our formatted estimate, and the published number (empty if there is none)."""

    ours: str
    theirs: str = ""


@dataclass(frozen=True)
class RatesTable:
    """One table: caption, names of the columns after the first, and rows of a name with its cells."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[TableCell]]]


def tables(
    audit: Audit,
    bytes_: Mapping[str, float],
    published: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[RatesTable]:
    """Yield the tables of an audit: accuracy, gaps and size of every model; then rates group by group, for each attribute.

    Parameters
    ----------
    bytes_
        Model → bytes of its file.
    published
        Model → key → value: ``accuracy``, the gaps by their long names, ``kilobytes``, and below ``groups`` a group's name
        → rate → value. All between 0 and 1, but kilobytes.
    """
    published_models = published or {}
    base = bytes_.get(audit.baseline)
    changes = {c.compressed: c.overall.changes["accuracy"] for c in audit.comparisons}
    for attribute in audit.attributes:
        gaps = {(f.model, f.metric): f.estimate for f in audit.fairness if f.attribute == attribute}
        gap_metrics = [g for g in GAPS if any((m.name, g) in gaps for m in audit.models)]
        rows = []
        for m in audit.models:
            published_values = published_models.get(m.name, {})
            size = bytes_.get(m.name)
            cells = [
                TableCell(_percent(m.overall.rates["accuracy"]), _their(published_values, "accuracy", 100))
            ]
            cells.append(TableCell(_change(changes.get(m.name))))
            cells += [
                TableCell(_gap(gaps.get((m.name, g))), _their(published_values, g)) for g in gap_metrics
            ]
            cells.append(
                TableCell(
                    "–" if size is None or base is None else f"{size / 1e3:,.1f} ({base / size:.1f}×)",
                    _their(published_values, "kilobytes"),
                )
            )
            rows.append((m.name, cells))
        columns = [
            "accuracy, %",
            "change from the baseline, points",
            *(GAPS[g] for g in gap_metrics),
            "KB (times smaller)",
        ]
        yield RatesTable(f"Accuracy, gaps by {attribute}, size", columns, rows)
        yield from _by_group(audit.models, attribute, published_models)


def _by_group(
    models: Sequence[ModelResult], attribute: str, theirs: Mapping[str, Mapping[str, Any]]
) -> Iterator[RatesTable]:
    parts = [a.strip() for a in attribute.split("*")]
    names = list(dict.fromkeys(_name(g.values) for m in models for g in m.groups if list(g.values) == parts))
    for rate, word in RATES.items():
        rows = []
        for m in models:
            groups = {_name(g.values): g for g in m.groups if list(g.values) == parts}
            published_groups = theirs.get(m.name, {}).get("groups", {})
            if not groups or any(rate not in g.rates for g in groups.values()):
                continue
            factor = 100 if rate == "accuracy" else 1
            write = _percent if rate == "accuracy" else format_rate
            cells = [
                TableCell(
                    write(groups[n].rates[rate]) if n in groups and groups[n].rates[rate].estimable else "–",
                    _their(published_groups.get(n, {}), rate, factor),
                )
                for n in names
            ]
            rows.append((m.name, cells))
        if rows:
            unit = ", %" if rate == "accuracy" else ""
            yield RatesTable(f"{word[:1].upper()}{word[1:]}{unit} of every group by {attribute}", names, rows)


def _name(values: Mapping[str, object]) -> str:
    return ", ".join(map(str, values.values()))


def _percent(e: Estimate) -> str:
    if e.value is None:
        return "–"
    out = f"{100 * e.value:.2f}"
    return out + (
        f" [{100 * e.low:.1f}, {100 * e.high:.1f}]" if e.low is not None and e.high is not None else ""
    )


def _change(e: Estimate | None) -> str:
    if e is None or e.value is None:
        return "–"
    out = f"{100 * e.value:+z.2f}"
    out += f" [{100 * e.low:z.1f}, {100 * e.high:z.1f}]" if e.low is not None and e.high is not None else ""
    return out.replace("-", "−")


def _gap(e: Estimate | None) -> str:
    return "–" if e is None or not e.estimable else format_rate(e)


def _their(published: Mapping[str, Any], key: str, factor: float = 1) -> str:
    value = published.get(key)
    return "" if value is None else f"{factor * value:,.4g}"
