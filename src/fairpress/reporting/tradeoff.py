"""The section "Size, accuracy, bias" of a study: tables and charts of all recipes, with published numbers next to ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fairpress.core.estimate import Estimate
from fairpress.reporting.palette import SERIES
from fairpress.reporting.tradeoff_result import BASELINE, ModelTradeoff, TradeoffResult, is_control
from fairpress.reporting.vega_svg import load_altair, vega_svg

if TYPE_CHECKING:
    from rich.console import RenderableType

OURS, THEIRS = "ours", "published"
SOURCES = ("baseline", "pruned", "its placebo", "dense, equal accuracy", "published")
COLOURS = SERIES
SHAPES = ("square", "circle", "diamond", "triangle-up", "cross")


@dataclass(frozen=True)
class Tradeoff:
    """The results of `studies.analysis.tradeoff`, published results, and a benchmark.

    Attributes
    ----------
    results
        As in tradeoff.json.
    published
        ``source``, ``note``, ``group_sizes``, ``kilobytes``, ``bias``, ``accuracy``; None without published results.
    latency
        A benchmark as returned by `runtime.benchmark.result.BenchmarkResult.to_dict`.
    """

    results: TradeoffResult
    published: Mapping[str, Any] | None = None
    latency: Mapping[str, Any] | None = None
    figures: Mapping[str, str] = field(default_factory=dict)

    @property
    def models(self) -> Sequence[ModelTradeoff]:
        return self.results.models

    @property
    def attributes(self) -> list[str]:
        return list(self.results.used)

    def theirs(self, section: str, *keys: str) -> float | None:
        """Return a published number; None if there is none."""
        node: Any = (self.published or {}).get(section, {})
        for key in keys:
            node = node.get(key, {}) if isinstance(node, Mapping) else {}
        return float(node) if isinstance(node, (int, float)) else None


def estimate(value: Mapping[str, Any]) -> Estimate:
    """Return an estimate from the result of `Estimate.to_dict`."""
    return Estimate(**value)


def short(
    value: Estimate, digits: int = 3, sign: str = "", factor: float = 1.0, interval: bool = True
) -> str:
    """Format an estimate, by default with its interval, or a dash: ``0.262 [0.201, 0.322]``."""
    if value.value is None:
        return "–"
    # "z": a value that rounds to zero has no sign.
    text = f"{factor * value.value:{sign}z.{digits}f}"
    if interval and value.low is not None and value.high is not None:
        text += f" [{factor * value.low:z.{digits}f}, {factor * value.high:z.{digits}f}]"
    return text.replace("-", "−")


def word(value: Estimate) -> str:
    """Return whether the interval of a change shows that it was raised or lowered."""
    if value.low is None or value.high is None:
        return "not estimable"
    return "raised" if value.low > 0 else "lowered" if value.high < 0 else "undecided"


def by_chance(t: Tradeoff) -> str:
    """Return a sentence on how many changes are listed, and how many of them chance alone would call raised or lowered.

    The section lists every recipe, attribute and control, and its intervals are not corrected for that.
    """
    changes = [
        change
        for m in t.models
        if not is_control(m.model)
        for changes_by_attribute in (m.against_baseline, m.against_placebo, m.distinct_control.change)
        for change in (changes_by_attribute or {}).values()
        if change.low is not None
    ]
    called = sum(word(change) != "undecided" for change in changes)
    return (
        f"Each 95 % interval is uncorrected, and {len(changes)} changes of a recipe are shown. If nothing had changed, "
        f"about {len(changes) / 20:.2g} of them would still be called raised or lowered; {called} are. A single change "
        "close to 0 is not evidence by itself."
    )


def control_words(model: ModelTradeoff) -> str:
    """Return the dense networks that a model was matched with, or the reason why there are none."""
    control = model.control
    if control is None:
        return "–"
    if control.reason is not None or control.weight is None or control.accuracy_difference is None:
        return str(control.reason)
    if control.side == "above":
        between = f"{control.above}, the most accurate dense network"
    else:
        between = f"{1 - control.weight:.0%} {control.below}, {control.weight:.0%} {control.above}"
    return f"{between}; accuracy {short(control.accuracy_difference, 1, '+', 100)} points from it"


def draw(t: Tradeoff) -> dict[str, str]:
    """Return name of the chart → SVG: ``size`` (figure 1), ``sparsity-size`` (2), ``sparsity-bias`` (3)."""
    alt = load_altair()

    sizes = []
    for m in t.models:
        if is_control(m.model):
            continue
        sizes.append({"model": m.model, "kb": m.bytes / 1e3, "what": "file"})
        sizes.append({"model": m.model, "kb": m.gzip_bytes / 1e3, "what": "gzipped"})
        if (theirs := t.theirs("kilobytes", m.model)) is not None:
            sizes.append({"model": m.model, "kb": theirs, "what": THEIRS})
    order = list(dict.fromkeys(s["model"] for s in sizes))
    kinds = alt.Scale(domain=["file", "gzipped", THEIRS], range=[SERIES[0], SERIES[1], SERIES[4]])
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
    out = {"size": vega_svg(bars, "Size of every recipe's file, raw and gzipped")}
    pruned = [m for m in t.models if m.model == BASELINE or _pruned(m)]
    if len(pruned) < 2:
        return out
    curve = [
        {"x": 100 * (m.sparsity or 0), "kb": size / 1e3, "what": w}
        for m in pruned
        for size, w in ((m.bytes, "file"), (m.gzip_bytes, "gzipped"))
    ]
    curve += [
        {"x": 100 * (m.sparsity or 0), "kb": v, "what": THEIRS}
        for m in pruned
        if (v := t.theirs("kilobytes", m.model)) is not None
    ]
    x = alt.X("x:Q", title="weights that are zero, %")
    y = alt.Y("kb:Q", title="KB")
    colour = alt.Color("what:N", scale=kinds, title=None)
    shape = alt.Shape(
        "what:N", scale=alt.Scale(domain=kinds.domain, range=SHAPES[:2] + SHAPES[-1:]), title=None
    )
    measured = [c for c in curve if c["what"] != THEIRS]  # between published points nothing is known
    lines = alt.Chart(alt.Data(values=measured)).mark_line().encode(x=x, y=y, color=colour)
    dots = alt.Chart(alt.Data(values=curve)).mark_point(filled=True, size=50, opacity=1)
    lines = (lines + dots.encode(x=x, y=y, color=colour, shape=shape)).properties(width=340, height=220)
    out["sparsity-size"] = vega_svg(lines, "Size against sparsity")
    panels = [_bias_panel(t, a, pruned) for a in t.attributes]
    chart = alt.hconcat(*panels).resolve_scale(color="shared", shape="shared")
    out["sparsity-bias"] = vega_svg(chart, "Pairwise bias against sparsity with intervals")
    return out


def _pruned(model: ModelTradeoff) -> bool:
    return model.sparsity is not None and "+" not in model.model


def _bias_panel(t: Tradeoff, attribute: str, pruned: Sequence[ModelTradeoff]) -> Any:
    alt = load_altair()

    by_name = {m.model: m for m in t.models}
    rows = []
    for m in pruned:
        x = 100.0 * (m.sparsity or 0.0)
        points = [(x, "baseline" if m.model == BASELINE else "pruned", m.bias[attribute])]
        if m.placebo in by_name:
            points.append((x - 1.2, "its placebo", by_name[m.placebo].bias[attribute]))
        if (control_bias := m.distinct_control.bias) is not None:
            points.append((x + 1.2, "dense, equal accuracy", control_bias[attribute]))
        if (v := t.theirs("bias", attribute, m.model)) is not None:
            points.append((x, THEIRS, Estimate(v)))
        rows += [
            {
                "x": position,
                "what": source,
                "y": e.value,
                "low": e.value if e.low is None else e.low,
                "high": e.value if e.high is None else e.high,
            }
            for position, source, e in points
            if e.value is not None
        ]
    base = alt.Chart(alt.Data(values=rows))
    x = alt.X("x:Q", title="weights that are zero, %", scale=alt.Scale(domain=[-4, 100], nice=False))
    colour = alt.Color("what:N", scale=alt.Scale(domain=SOURCES, range=COLOURS), title=None)
    shape = alt.Shape("what:N", scale=alt.Scale(domain=SOURCES, range=SHAPES), title=None)
    rules = base.mark_rule().encode(x=x, y=alt.Y("low:Q", title="pairwise bias"), y2="high:Q", color=colour)
    dots = base.mark_point(filled=True, size=50, opacity=1).encode(x=x, y="y:Q", color=colour, shape=shape)
    return (rules + dots).properties(width=250, height=240, title=attribute)


def render(t: Tradeoff) -> Iterator[RenderableType]:
    """Yield the parts to print: a short table, sentences, and notes on speed."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("recipe", "KB", "accuracy %", *t.attributes, "constant"):
        name = column == "recipe"  # long ones, with all their options, take several lines
        table.add_column(column, justify="left" if name else "right", no_wrap=not name, overflow="fold")
    for m in t.models:
        table.add_row(
            m.model,
            f"{m.bytes / 1e3:.1f}",
            short(m.accuracy, 1, "", 100, interval=False),
            *(short(m.bias[a], interval=False) + _mark(m, a) for a in t.attributes),
            f"{m.constant} of {m.networks}",
        )
    yield table
    yield (
        "Bias: the sum over pairs of groups of |ΔTPR| + |ΔTNR|. ↑ ↓: raised, lowered against the baseline; ↑p ↓p: against "
        "its placebo; ↑a ↓a: against dense networks of equal accuracy, or the most accurate where none is as accurate. "
        "Without a mark: undecided."
    )
    yield by_chance(t)
    for m in t.models:
        if m.control is not None and m.control.change is not None:
            changes = ", ".join(f"{a} {short(m.control.change[a], 3, '+')}" for a in t.attributes)
            yield f"{m.model} against dense networks of equal accuracy: {changes} ({control_words(m)})"
        elif m.control is not None and m.control.reason is not None:
            yield f"{m.model} against dense networks of equal accuracy: not estimable; {m.control.reason}"
    for sentence in (t.latency or {}).get("sentences", []):
        yield f"! {sentence}"
    yield from (t.latency or {}).get("notes", [])


def _mark(model: ModelTradeoff, attribute: str) -> str:
    changes = (
        (model.against_baseline, ""),
        (model.against_placebo, "p"),
        (model.distinct_control.change, "a"),
    )
    return "".join(_arrow((change or {}).get(attribute), sign) for change, sign in changes)


def _arrow(change: Estimate | None, sign: str) -> str:
    direction = word(change) if change is not None else ""
    return f" ↑{sign}" if direction == "raised" else f" ↓{sign}" if direction == "lowered" else ""
