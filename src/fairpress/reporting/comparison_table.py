"""Several compressed models and their baseline, one row each, as CSV, LaTeX and a chart."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairpress.auditing.result import Audit, Comparison, GroupComparison
from fairpress.auditing.verdicts.wording import group_name, metric_name, points_up
from fairpress.core.errors import UserError
from fairpress.core.estimate import Estimate
from fairpress.core.files import write_text, write_whole
from fairpress.reporting.formatting import WORD, format_points, format_rate, size
from fairpress.reporting.group_rows import short_name, unassessed, worst_row
from fairpress.reporting.latex import environment
from fairpress.reporting.latex import escape as tex
from fairpress.reporting.palette import LIGHT, SERIES
from fairpress.reporting.vega_svg import load_altair

FORMS = (".svg", ".png", ".pdf", ".html")


@dataclass(frozen=True)
class ComparisonTable:
    """A baseline and its compressed models, on the same test rows.

    Attributes
    ----------
    audit
        The audit with every figure of the table.
    bytes
        Model → bytes of its file, the baseline first.
    """

    audit: Audit
    bytes: Mapping[str, int]

    def rows(self) -> list[dict[str, Any]]:
        """Return a mapping for each model: figures as numbers, None if not estimable.

        Shares are of test rows, losses in the deciding metric in shares (positive is worse) with their intervals; for each
        attribute the group of largest estimated loss, chosen on the rows that measure it; the largest loss that is not ruled
        out for any assessed group (``at most``) and whose; and the verdict with its metric.
        """
        accuracy = {m.name: m.overall.rates["accuracy"] for m in self.audit.models}
        base = self.bytes[self.audit.baseline]
        rows = []
        for name, count in self.bytes.items():
            row: dict[str, Any] = {"model": name, "bytes": count, "times_smaller": base / count}
            row |= _numbers("accuracy", accuracy[name]) | {"n": accuracy[name].n}
            compared = next((c for c in self.audit.comparisons if c.compressed == name), None)
            row |= self._changes(compared)
            rows.append(row)
        return rows

    def _changes(self, compared: Comparison | None) -> dict[str, Any]:
        flips = None if compared is None else compared.overall.flips
        names = ("right_to_wrong", "wrong_to_right", "wrong_to_wrong")
        out: dict[str, Any] = {k: None if flips is None else getattr(flips, k) / flips.n for k in names}
        out["flips"] = None if flips is None else sum(out.values())
        for attribute in self.audit.attributes:
            worst = None if compared is None else worst_group(compared, attribute)
            loss = Estimate.not_estimable("none") if worst is None else worst.losses[0].estimate
            out[f"{attribute}: worst group"] = None if worst is None else group_name(worst.values)
            out |= _numbers(f"{attribute}: loss", loss)
        bound = compared.bounds[0] if compared is not None else None
        out["at most"] = None if bound is None else bound.upper
        out["at most: group"] = (
            None
            if compared is None or bound is None or bound.upper is None
            else short_name(compared, bound.upper_group)
        )
        out["metric"] = self.audit.metrics[0]
        out["verdict"] = None if compared is None else compared.verdict
        return out

    def to_csv(self, path: str | Path | None = None) -> str:
        """Return the table as CSV, with empty cells for what is not estimable, and write it if a path is given."""
        stream = io.StringIO()
        rows = self.rows()
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return self._written(path, stream.getvalue())

    def to_latex(self, path: str | Path | None = None) -> str:
        """Return the table as LaTeX (booktabs), and write it if a path is given."""
        template = environment().get_template("compared.tex.j2")
        return self._written(
            path, template.render(audit=self.audit, rows=self._words(), tex=tex, name=metric_name)
        )

    def __str__(self) -> str:
        rows = self._words()
        head = [
            "model",
            "size",
            "accuracy",
            "flips",
            *(f"worst {a}" for a in self.audit.attributes),
            "any group at most",
            "verdict",
        ]
        lines = [
            head,
            *(
                [r["model"], r["size"], r["accuracy"], r["flips"], *r["worst"], r["at_most"], r["verdict"]]
                for r in rows
            ),
        ]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        return "\n".join(
            "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines
        )

    def _words(self) -> list[dict[str, Any]]:
        """Return each row as formatted text."""
        accuracy = {m.name: m.overall.rates["accuracy"] for m in self.audit.models}
        rows = []
        for row in self.rows():
            name = row["model"]
            compared = next((c for c in self.audit.comparisons if c.compressed == name), None)
            worst = []
            for attribute in self.audit.attributes:
                group = None if compared is None else worst_group(compared, attribute)
                value = "–" if group is None else format_points(group.losses[0].estimate)
                worst.append(value if group is None else f"{', '.join(group.values.values())} {value}")
            rows.append(
                {
                    "model": name,
                    "size": size(row["bytes"]),
                    "accuracy": format_rate(accuracy[name]),
                    "flips": "–" if row["flips"] is None else f"{100 * row['flips']:.1f} %",
                    "worst": worst,
                    "at_most": "–"
                    if row["at most"] is None
                    else f"{points_up(row['at most'])} ({row['at most: group']})",
                    "verdict": "baseline" if compared is None else self._verdict(compared),
                }
            )
        return rows

    def _verdict(self, compared: Comparison) -> str:
        """Return the verdict with the error that it is about."""
        named = compared.verdict not in ("void", "not_estimable")
        error = f" in {worst_row(compared).error}" if named else ""
        lacking = len(unassessed(compared)) if compared.verdict == "no_harm" else 0
        return f"{WORD[compared.verdict]}{error}" + (f", {lacking} groups not assessed" if lacking else "")

    def plot(self, path: str | Path | None = None) -> Any:
        """Return an altair chart of every group's loss in the deciding metric with its interval.

        Groups that were not assessed are faded; the dashed line is the margin.

        With a path, it is written as SVG, PNG, PDF or HTML.

        Raises
        ------
        UserError
            The path has another suffix, or cannot be written.
        MissingExtra
            The extra `charts` is not installed.
        """
        alt = load_altair()

        values = [
            {
                "attribute": a.attribute,
                "group": ", ".join(g.values.values()),
                "model": c.compressed,
                "loss": 100 * estimate.value,
                "assessed": g.losses[0].assessed,
                "low": None if estimate.low is None else 100 * estimate.low,
                "high": None if estimate.high is None else 100 * estimate.high,
            }
            for c in self.audit.comparisons
            for a in c.attributes
            for g in a.groups
            if (estimate := g.losses[0].estimate).value is not None
        ]
        models = [c.compressed for c in self.audit.comparisons]
        offset = alt.YOffset("model:N", sort=models)
        colour = alt.Color("model:N", sort=models, title=None, scale=alt.Scale(domain=models, range=SERIES))
        shape = alt.Shape("model:N", sort=models, title=None, scale=alt.Scale(domain=models))
        faded = alt.condition("datum.assessed", alt.value(1.0), alt.value(0.3))
        panels = []
        for attribute in self.audit.attributes:
            base = alt.Chart(alt.Data(values=[v for v in values if v["attribute"] == attribute]))
            y = alt.Y("group:N", title=attribute)
            lines = base.mark_rule().encode(
                y=y,
                yOffset=offset,
                x=alt.X("low:Q", title=f"rise of the {metric_name(self.audit.metrics[0])}, points"),
                x2="high:Q",
                color=colour,
                opacity=faded,
            )
            dots = base.mark_point(filled=True, size=45).encode(
                y=y, yOffset=offset, x="loss:Q", color=colour, shape=shape, opacity=faded
            )
            none = alt.Chart(alt.Data(values=[{"x": 0}])).mark_rule(color=LIGHT["soft"]).encode(x="x:Q")
            margin = alt.Chart(alt.Data(values=[{"x": 100 * self.audit.margin}]))
            limit = margin.mark_rule(color=LIGHT["harm"], strokeDash=[4, 3]).encode(x="x:Q")
            panels.append((none + limit + lines + dots).properties(width=420))
        chart = alt.vconcat(*panels)
        if path is not None:
            form = Path(path).suffix.lower()
            if form not in FORMS:
                raise UserError(
                    f"{Path(path).name!r}: a chart is written as {', '.join(FORMS)}; choose one of these suffixes."
                )
            write_whole(path, lambda target: chart.save(str(target), format=form.removeprefix(".")))
        return chart

    def _written(self, path: str | Path | None, text: str) -> str:
        if path is not None:
            write_text(path, text)
        return text


def worst_group(compared: Comparison, attribute: str) -> GroupComparison | None:
    """Return the group with the largest estimated loss in the deciding metric; None if no group has an estimate."""
    groups = next(a.groups for a in compared.attributes if a.attribute == attribute)
    estimable = [g for g in groups if g.losses[0].estimate.value is not None]
    assessed = [g for g in estimable if g.losses[0].assessed] or estimable
    return max(assessed, key=lambda g: g.losses[0].estimate.value or 0.0, default=None)


def _numbers(name: str, estimate: Estimate) -> dict[str, float | None]:
    return {name: estimate.value, f"{name} low": estimate.low, f"{name} high": estimate.high}
