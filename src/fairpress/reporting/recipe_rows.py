"""The recipes of a study, one row each: size, result against the baseline, and result against the placebo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairpress.auditing.result import Audit, Comparison, LossBounds, Pool, Values, Verdict
from fairpress.auditing.verdicts.rules import WORST_FIRST
from fairpress.auditing.verdicts.wording import is_cleared, metric_name, name_groups, points_down, points_up
from fairpress.reporting.first_screen import Headline, unassessed_sentence, void_sentence
from fairpress.reporting.formatting import SYMBOL, WORD, format_loss, tone
from fairpress.reporting.group_rows import short_name, worst_row

NONE = "–"
PLACEBO = "the same fine-tuning without compression (placebo)"
MAX_NAMES = 6


@dataclass(frozen=True)
class BoundText:
    """A bound in points, with its error if that is not the one that decides, and the group that it is about."""

    points: str
    group: str = ""


@dataclass(frozen=True)
class ShortResult:
    """A comparison in short texts.

    Attributes
    ----------
    tone
        The verdict whose colour it has.
    word, error
        The verdict with its sign; the error that it is about if that is not the one that decides, else empty.
    uneven
        Whether groups moved apart.
    upper
        X of the error that decides, then X of the other error that is most open above its margin.
    lower
        The largest loss that is shown, in the error that decides if there is one; None if none is.
    cleared
        The share of the people for whom a loss above the margin is ruled out.
    """

    tone: Verdict
    word: str
    error: str
    uneven: bool
    upper: tuple[BoundText, ...]
    lower: BoundText | None
    cleared: str


@dataclass(frozen=True)
class RecipeRow:
    """A recipe with its results against the baseline and against its placebo.

    `bytes` is the size of its file, and `times_smaller` that of the baseline's file relative to it; None if not known.
    `placebo` is None for a recipe that does not fine-tune. `rank` orders recipes from the most severe to the mildest.
    """

    recipe: str
    bytes: float | None
    times_smaller: float | None
    baseline: ShortResult
    placebo: ShortResult | None
    rank: tuple[int, float]

    @property
    def tone(self) -> Verdict:
        """The verdict whose colour the row has: green only if no other error is open and the placebo does no better."""
        if self.baseline.tone != "no_harm":
            return self.baseline.tone
        worse = self.placebo is not None and self.placebo.tone != "no_harm"
        return "inconclusive" if worse or len(self.baseline.upper) > 1 else "no_harm"


def recipe_rows(
    audit: Audit, placebos: Mapping[str, Audit], sizes: Mapping[str, float] | None = None
) -> list[RecipeRow]:
    """Return a row for each comparison of an audit, in its order.

    Parameters
    ----------
    placebos
        Recipe → its audit against its placebo.
    sizes
        Model → bytes of its file, that of the baseline included.
    """
    known = sizes or {}
    rows = []
    for c in audit.comparisons:
        control = placebos.get(c.compressed)
        bytes_ = known.get(c.compressed)
        baseline_bytes = known.get(audit.baseline)
        rows.append(
            RecipeRow(
                c.compressed,
                bytes_,
                baseline_bytes / bytes_ if bytes_ and baseline_bytes else None,
                short_result(c),
                None if control is None else short_result(control.comparisons[0]),
                _rank(c),
            )
        )
    return rows


def short_result(c: Comparison) -> ShortResult:
    """Return a comparison in short texts."""
    deciding, void = c.bounds[0], c.verdict == "void"
    open_ = [b for b in c.bounds[1:] if b.upper is not None and not is_cleared(b)]
    shown = [deciding, *sorted(open_, key=lambda b: -(b.upper or 0.0))[:1]]
    lower = next((b for b in c.bounds if b.lower is not None), None)
    worst = worst_row(c).loss
    names_error = c.verdict in ("harm", "loss") and worst.metric != deciding.metric
    # The sign of "no harm" depends on whether every group was assessed.
    sign = SYMBOL[tone(c) if c.verdict == "no_harm" else c.verdict]
    return ShortResult(
        tone(c),
        f"{sign} {WORD[c.verdict]}",
        worst.measure.short if names_error else "",
        bool(c.disparate),
        (BoundText(NONE),) if void else tuple(_upper(c, b) for b in shown),
        None if lower is None else _lower(c, lower),
        NONE if void or deciding.upper is None else _percent(deciding.cleared),
    )


def headlines(audits: Sequence[Audit], placebos: Sequence[Audit]) -> list[Headline]:
    """Summarize the recipes of a study: against the baseline, in the errors that do not decide, and against placebos."""
    comparisons = [c for a in audits for c in a.comparisons]
    controlled = [c for a in placebos for c in a.comparisons]
    lines = [
        Headline(
            f"{len(comparisons)} compressed models compared with {audits[0].baseline}: {_by_verdict(comparisons)}.",
            _worst(comparisons),
        ),
        Headline(open_errors_sentence(comparisons)),
    ]
    if placebos:
        lines.append(
            Headline(
                f"Compared with {PLACEBO}: {_by_verdict(controlled)}.{_worst_sentence(controlled)}",
                _worst(controlled),
            )
        )
    lines += [Headline(void_sentence(comparisons)), Headline(unassessed_sentence(comparisons))]
    return [line for line in lines if line.text]


def _worst(comparisons: Sequence[Comparison]) -> Verdict | None:
    tones = {tone(c) for c in comparisons}
    return next((v for v in WORST_FIRST if v in tones), None)


def _worst_sentence(comparisons: Sequence[Comparison]) -> str:
    """Return the largest loss that is shown, and whose; empty if none is."""
    shown = [
        (row, c)
        for c in comparisons
        if c.verdict in ("harm", "loss") and (row := worst_row(c)).loss.estimate.estimable
    ]
    if not shown:
        return ""
    row, c = max(shown, key=lambda p: p[0].loss.estimate.value or 0.0)
    return (
        f" The largest: {c.compressed}, {row.title} (n = {row.n:,.0f}): {row.error} {row.up} by "
        f"{format_loss(row.loss).lstrip('+')} percentage points."
    )


def open_errors_sentence(comparisons: Sequence[Comparison]) -> str:
    """Return how many models have no harm in the deciding error, but are open above the margin in another.

    Empty if there are none: "no harm" must not be read as that of every error.
    """
    pairs = [
        (b, c)
        for c in comparisons
        if c.verdict == "no_harm"
        for b in c.bounds[1:]
        if b.upper is not None and not is_cleared(b)
    ]
    if not pairs:
        return ""
    count = len({id(c) for _, c in pairs})
    worst, model = max(pairs, key=lambda p: p[0].upper or 0.0)
    return (
        f"No harm is about the {metric_name(model.bounds[0].metric)}; in another error, {count} of them "
        f"{'are' if count > 1 else 'is'} open above the margin, up to {points_up(worst.upper or 0.0)} points "
        f"({model.compressed}: {metric_name(worst.metric)}, {_short_group(model, worst.upper_group)})."
    )


def _by_verdict(comparisons: Sequence[Comparison]) -> str:
    """Return the verdicts, the worst first, each with its models, or with their number if they are many."""
    texts = []
    for verdict in WORST_FIRST:
        names = [c.compressed for c in comparisons if c.verdict == verdict]
        if len(names) == len(comparisons) > MAX_NAMES:
            return f"{WORD[verdict]} for all {len(names)}"
        if names:
            texts.append(
                f"{WORD[verdict]}: {name_groups(names) if len(names) <= MAX_NAMES else f'{len(names)} models'}"
            )
    return "; ".join(texts)


def _rank(c: Comparison) -> tuple[int, float]:
    return WORST_FIRST.index(c.verdict), -max((b.upper or 0.0 for b in c.bounds), default=0.0)


def _upper(c: Comparison, bound: LossBounds) -> BoundText:
    if bound.upper is None:
        return BoundText("not known")
    if bound.upper <= 0:
        return BoundText("no rise")
    return BoundText(f"{_error(c, bound)}{points_up(bound.upper)}", _short_group(c, bound.upper_group))


def _lower(c: Comparison, bound: LossBounds) -> BoundText:
    return BoundText(
        f"{_error(c, bound)}{points_down(bound.lower or 0.0)}", _short_group(c, bound.lower_group)
    )


def _error(c: Comparison, bound: LossBounds) -> str:
    return "" if bound is c.bounds[0] else f"{bound.measure.short} "


def _short_group(c: Comparison, group: Values | Pool | None) -> str:
    """Return the name of a group; of a pool, its attribute, since pools are named below the table."""
    return f"{group.attribute} pool" if isinstance(group, Pool) else short_name(c, group)


def _percent(share: float) -> str:
    """Format a share in whole percent, rounded down: 100 % only where it is everybody."""
    return f"{int(100 * share + 1e-9)} %"
