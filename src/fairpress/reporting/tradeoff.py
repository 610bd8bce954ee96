"""The section "Size, accuracy, bias" of a study: tables and charts of all recipes, with published numbers next to ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fairpress.core.estimate import Estimate
from fairpress.reporting.svg_minify import minify

if TYPE_CHECKING:
    from rich.console import RenderableType

BASELINE = "fp32"
OURS, THEIRS = "ours", "published"
SOURCES = ("baseline", "pruned", "its placebo", "dense, equal accuracy", "published")
COLOURS = ("#475467", "#b42318", "#1570ef", "#946200", "#98a2b3")
SHAPES = ("square", "circle", "diamond", "triangle-up", "cross")


@dataclass(frozen=True)
class Tradeoff:
    """The results of `studies.analysis.tradeoff`, published results, and a benchmark.

    Attributes
    ----------
    results
        ``models``, ``groups``, ``used`` …, as in tradeoff.json.
    published
        ``source``, ``note``, ``group_sizes``, ``kilobytes``, ``bias``, ``accuracy``; None without published results.
    latency
        A benchmark as returned by `runtime.benchmark.result.BenchmarkResult.to_dict`.
    """

    results: Mapping[str, Any]
    published: Mapping[str, Any] | None = None
    latency: Mapping[str, Any] | None = None
    figures: Mapping[str, str] = field(default_factory=dict)

    @property
    def models(self) -> Sequence[Mapping[str, Any]]:
        return list(self.results["models"])

    @property
    def attributes(self) -> list[str]:
        return list(self.results["used"])

    def theirs(self, section: str, *keys: str) -> float | None:
        """Return a published number; None if there is none."""
        node: Any = (self.published or {}).get(section, {})
        for key in keys:
            node = node.get(key, {}) if isinstance(node, Mapping) else {}
        return float(node) if isinstance(node, (int, float)) else None


def estimate(value: Mapping[str, Any]) -> Estimate:
    """Return an estimate from the result of `Estimate.to_dict`."""
    return Estimate(**value)


def short(value: Mapping[str, Any], digits: int = 3, sign: str = "", factor: float = 1.0) -> str:
    """Format an estimate with its interval, or a dash: ``0.262 [0.201, 0.322]``."""
    if value.get("value") is None:
        return "–"
    # "z": a value that rounds to zero has no sign.
    text = f"{factor * value['value']:{sign}z.{digits}f}"
    if value.get("low") is not None:
        text += f" [{factor * value['low']:z.{digits}f}, {factor * value['high']:z.{digits}f}]"
    return text.replace("-", "−")


def word(value: Mapping[str, Any]) -> str:
    """Return whether the interval of a change shows that it was raised or lowered."""
    if value.get("low") is None:
        return "not estimable"
    return "raised" if value["low"] > 0 else "lowered" if value["high"] < 0 else "undecided"


def by_chance(t: Tradeoff) -> str:
    """Return a sentence on how many changes are listed, and how many of them chance alone would call raised or lowered.

    The section lists every recipe, attribute and control, and its intervals are not corrected for that.
    """
    changes = [
        change
        for m in t.models
        if not m["model"].startswith(("placebo", "checkpoint"))
        for changes_by_attribute in (
            m.get("against_baseline"),
            m.get("against_placebo"),
            control_of(m).get("change"),
        )
        for change in (changes_by_attribute or {}).values()
        if change.get("low") is not None
    ]
    called = sum(word(change) != "undecided" for change in changes)
    return (
        f"Each 95 % interval is uncorrected, and {len(changes)} changes of a recipe are shown. If nothing had changed, "
        f"about {len(changes) / 20:.2g} of them would still be called raised or lowered; {called} are. A single change "
        "close to 0 is not evidence by itself."
    )


def control_of(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a model's accuracy-matched dense control; empty if that is the baseline."""
    control: Mapping[str, Any] = model.get("control") or {}
    weight = control.get("weight")
    only = {1.0: control.get("above"), 0.0: control.get("below")}.get(weight) if weight is not None else None
    return {} if only == BASELINE else control


def control_words(model: Mapping[str, Any]) -> str:
    """Return the dense networks that a model was matched with, or the reason why there are none."""
    control = model.get("control")
    if control is None:
        return "–"
    if "reason" in control:
        return str(control["reason"])
    if control.get("side") == "above":
        between = f"{control['above']}, the most accurate dense network"
    else:
        between = (
            f"{1 - control['weight']:.0%} {control['below']}, {control['weight']:.0%} {control['above']}"
        )
    return f"{between}; accuracy {short(control['accuracy_difference'], 1, '+', 100)} points from it"


def draw(t: Tradeoff) -> dict[str, str]:
    """Return name of the chart → SVG: ``size`` (figure 1), ``sparsity-size`` (2), ``sparsity-bias`` (3)."""
    import altair as alt

    sizes = []
    for m in t.models:
        if m["model"].startswith(("placebo", "checkpoint")):
            continue
        sizes.append({"model": m["model"], "kb": m["bytes"] / 1e3, "what": "file"})
        sizes.append({"model": m["model"], "kb": m["gzip_bytes"] / 1e3, "what": "gzipped"})
        if (theirs := t.theirs("kilobytes", m["model"])) is not None:
            sizes.append({"model": m["model"], "kb": theirs, "what": THEIRS})
    order = list(dict.fromkeys(s["model"] for s in sizes))
    kinds = alt.Scale(domain=["file", "gzipped", THEIRS], range=["#344054", "#1570ef", "#98a2b3"])
    bars = (
        alt.Chart(alt.Data(values=sizes))
        .mark_bar()
        .encode(
            x=alt.X("model:N", sort=order, title=None, axis=alt.Axis(labelAngle=-40)),
            xOffset=alt.XOffset("what:N", sort=["file", "gzipped", THEIRS]),
            y=alt.Y("kb:Q", title="KB"),
            color=alt.Color("what:N", scale=kinds, title=None),
        )
        .properties(width=620, height=240)
    )
    out = {"size": _svg(bars, "Size of every recipe's file, raw and gzipped")}
    pruned = [m for m in t.models if m["model"] == "fp32" or _pruned(m)]
    if len(pruned) < 2:
        return out
    curve = [
        {"x": 100 * (m["sparsity"] or 0), "kb": m[b] / 1e3, "what": w}
        for m in pruned
        for b, w in (("bytes", "file"), ("gzip_bytes", "gzipped"))
    ]
    curve += [
        {"x": 100 * (m["sparsity"] or 0), "kb": v, "what": THEIRS}
        for m in pruned
        if (v := t.theirs("kilobytes", m["model"])) is not None
    ]
    lines = (
        alt.Chart(alt.Data(values=curve))
        .mark_line(point=True)
        .encode(
            x=alt.X("x:Q", title="weights that are zero, %"),
            y=alt.Y("kb:Q", title="KB"),
            color=alt.Color("what:N", scale=kinds, title=None),
        )
        .properties(width=420, height=240)
    )
    out["sparsity-size"] = _svg(lines, "Size against sparsity")
    panels = [_bias_panel(t, a, pruned) for a in t.attributes]
    chart = alt.hconcat(*panels).resolve_scale(color="shared", shape="shared")
    out["sparsity-bias"] = _svg(chart, "Pairwise bias against sparsity with intervals")
    return out


def _pruned(model: Mapping[str, Any]) -> bool:
    return model["sparsity"] is not None and "+" not in model["model"]


def _bias_panel(t: Tradeoff, attribute: str, pruned: Sequence[Mapping[str, Any]]) -> Any:
    import altair as alt

    by_name = {m["model"]: m for m in t.models}
    rows = []
    for m in pruned:
        x = 100.0 * (m["sparsity"] or 0.0)
        points: list[tuple[float, str, Any]] = [
            (x, "baseline" if m["model"] == "fp32" else "pruned", m["bias"][attribute])
        ]
        if m["placebo"] in by_name:
            points.append((x - 1.2, "its placebo", by_name[m["placebo"]]["bias"][attribute]))
        if "bias" in control_of(m):
            points.append((x + 1.2, "dense, equal accuracy", m["control"]["bias"][attribute]))
        if (v := t.theirs("bias", attribute, m["model"])) is not None:
            points.append((x, THEIRS, {"value": v}))
        rows += [
            {
                "x": position,
                "what": source,
                "y": e["value"],
                "low": e.get("low", e["value"]),
                "high": e.get("high", e["value"]),
            }
            for position, source, e in points
            if e["value"] is not None
        ]
    base = alt.Chart(alt.Data(values=rows))
    x = alt.X("x:Q", title="weights that are zero, %", scale=alt.Scale(domain=[-4, 100], nice=False))
    colour = alt.Color("what:N", scale=alt.Scale(domain=SOURCES, range=COLOURS), title=None)
    shape = alt.Shape("what:N", scale=alt.Scale(domain=SOURCES, range=SHAPES), title=None)
    rules = base.mark_rule().encode(x=x, y=alt.Y("low:Q", title="pairwise bias"), y2="high:Q", color=colour)
    dots = base.mark_point(filled=True, size=50, opacity=1).encode(x=x, y="y:Q", color=colour, shape=shape)
    return (rules + dots).properties(width=250, height=240, title=attribute)


def _svg(chart: Any, label: str) -> str:
    import vl_convert as vlc

    spec = (
        # The viewer's font may be wider than that in which the labels were measured.
        chart.properties(padding={"left": 12, "right": 12, "top": 5, "bottom": 24})
        .configure(font="Arial, Liberation Sans, sans-serif", background="#ffffff")
        .configure_legend(orient="top", columnPadding=30, labelLimit=300)
        .to_dict(validate=False)
    )
    svg: str = vlc.vegalite_to_svg(spec)
    return minify(svg, label)


def render(t: Tradeoff) -> Iterator[RenderableType]:
    """Yield the parts to print: a short table, sentences, and notes on speed."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("recipe", "KB", "accuracy %", *t.attributes, "constant"):
        name = column == "recipe"  # long ones, with all their options, take several lines
        table.add_column(column, justify="left" if name else "right", no_wrap=not name, overflow="fold")
    for m in t.models:
        table.add_row(
            m["model"],
            f"{m['bytes'] / 1e3:.1f}",
            "–" if m["accuracy"]["value"] is None else f"{100 * m['accuracy']['value']:.1f}",
            *(short({**m["bias"][a], "low": None}) + _mark(m, a) for a in t.attributes),
            f"{m['constant']} of {m['networks']}",
        )
    yield table
    yield (
        "Bias: the sum over pairs of groups of |ΔTPR| + |ΔTNR|. ↑ ↓: raised, lowered against the baseline; ↑p ↓p: against "
        "its placebo; ↑a ↓a: against dense networks of equal accuracy, or the most accurate where none is as accurate. "
        "Without a mark: undecided."
    )
    yield by_chance(t)
    for m in t.models:
        control = m.get("control", {})
        if "change" in control:
            changes = ", ".join(f"{a} {short(control['change'][a], 3, '+')}" for a in t.attributes)
            yield f"{m['model']} against dense networks of equal accuracy: {changes} ({control_words(m)})"
        elif "reason" in control:
            yield f"{m['model']} against dense networks of equal accuracy: not estimable; {control['reason']}"
    for sentence in (t.latency or {}).get("sentences", []):
        yield f"! {sentence}"
    yield from (t.latency or {}).get("notes", [])


def _mark(model: Mapping[str, Any], attribute: str) -> str:
    out = ""
    for key, sign in (("against_baseline", ""), ("against_placebo", "p")):
        out += _arrow(model.get(key, {}).get(attribute), sign)
    return out + _arrow(control_of(model).get("change", {}).get(attribute), "a")


def _arrow(change: Mapping[str, Any] | None, sign: str) -> str:
    direction = word(change) if change is not None else ""
    return f" ↑{sign}" if direction == "raised" else f" ↓{sign}" if direction == "lowered" else ""
