"""The section "Claims" of a study: each claim, its result, and the data behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fairpress.reporting.formatting import format_p

if TYPE_CHECKING:
    from rich.console import RenderableType

MARK = {"supported": "✔", "contradicted": "✖", "undecided": "?", "undecidable": "–", "not answered": "–"}
QUANTITY = {
    "accuracy": "accuracy",
    "accuracy_gap": "accuracy gap",
    "worst_group_accuracy": "worst-group accuracy",
    "demographic_parity_difference": "demographic parity difference",
    "equal_opportunity_difference": "TPR gap",
    "predictive_equality_difference": "FPR gap",
    "equalized_odds_difference": "equalized odds difference",
    "average_odds_difference": "average odds difference",
    "pairwise_bias": "pairwise bias",
    "worst_group_loss": "loss of the worst group",
    "loss_gap": "gap between the groups' losses",
    "flips": "changed predictions",
    "worst_group_flips": "changed predictions of the worst group",
    "flips_gap": "gap between the groups' changed predictions",
    "lost_answers": "correct answers lost",
    "sensitivity_depth": "correlation of a layer's sensitivity with its depth",
}
AGAINST_BASELINE = (
    "loss",
    "worst_group_loss",
    "loss_gap",
    "flips",
    "worst_group_flips",
    "flips_gap",
    "lost_answers",
)
TESTS = {
    "seeds × rows": "over seeds × rows",
    "seeds": "over seeds",
    "sign flips": "over sign flips of pairs of networks, whose p was the larger one",
}
ClaimRecord = Mapping[str, Any]


def quantity(answer: ClaimRecord) -> str:
    """Return the measured quantity: ``TPR gap by race``, ``loss of accuracy of the smallest group (Black)``."""
    claim = answer["claim"]
    name = claim["quantity"]
    if name == "loss":
        text = f"loss of {claim.get('metric', 'accuracy')}"
        if "group" in claim:
            group = claim["group"]
            smallest_group = answer["groups"][0] if answer["groups"] else ""
            text += (
                f" of the smallest group ({smallest_group})"
                if group == "smallest" and smallest_group
                else f" of {group}"
            )
        if "against_group" in claim:
            times = claim.get("times", 1.0)
            text += f" − {'' if times == 1 else f'{times:g} × '}that of {claim['against_group']}"
        return text
    text = QUANTITY[name]
    if name not in ("accuracy", "flips", "lost_answers", "sensitivity_depth"):
        text += f" by {answer['by']}"
    return ("share won back of the " + text) if claim.get("recovers") else text


def compared(answer: ClaimRecord) -> str:
    """Return the compared models: ``prune-80 − its placebo``."""
    claim = answer["claim"]
    if "along" in claim:
        ((key, order),) = claim["along"].items()
        subject = f" ({', '.join(claim['of'])})" if claim.get("of") else ""
        return f"slope along {key}: {' → '.join(order)}{subject}"
    subject = _words(claim["of"])
    against = claim.get("against")
    if against is None:
        alone = claim["quantity"] in AGAINST_BASELINE
        return subject if alone or claim["quantity"] == "sensitivity_depth" else f"{subject} − the baseline"
    named = {"baseline": "the baseline", "placebo": "its placebo", "plain": "its plain counterpart"}
    other = named[against] if isinstance(against, str) else _words(against)
    changed = ", change against the baseline" if claim.get("change") else ""
    return f"{subject} − {other}{changed}"


def effect(answer: ClaimRecord) -> str:
    """Format the effect with its interval in points, per cent or as a correlation."""
    estimate, claim = answer["effect"], answer["claim"]
    if estimate.get("value") is None:
        return "–"
    if claim["quantity"] == "sensitivity_depth":
        factor, unit, digits = 1.0, "", 2
    elif claim.get("recovers"):
        factor, unit, digits = 100.0, " %", 0
    else:
        factor, unit, digits = 100.0, " points" + (" a step" if "along" in claim else ""), 1
    text = f"{factor * estimate['value']:+z.{digits}f}"
    if estimate.get("low") is not None:
        text += f" [{factor * estimate['low']:z.{digits}f}, {factor * estimate['high']:z.{digits}f}]"
    return text.replace("-", "−") + unit


def expected(answer: ClaimRecord) -> str:
    """Return the effect that would support the claim."""
    claim = answer["claim"]
    if claim.get("recovers"):
        return f"at least {100 * claim['recovers']:g} %"
    than = claim.get("than", 0.0)
    bound = f"{than:g}" if claim["quantity"] == "sensitivity_depth" else f"{100 * than:g}"
    word = {"more": "above", "less": "below", "differs": "not"}[claim.get("expect", "more")]
    return f"{word} {bound}".replace("-", "−")


def size(answer: ClaimRecord) -> str:
    """Format Hedges' g_z with its interval."""
    estimate = answer["size"]
    if not estimate or estimate.get("value") is None:
        return "–"
    return f"{estimate['value']:.2f} [{estimate['low']:.2f}, {estimate['high']:.2f}]".replace("-", "−")


def word(answer: ClaimRecord) -> str:
    """Format the result: ``✔ supported``, or what a decision would need."""
    text = answer["why"] if answer["answer"] == "undecidable" else answer["answer"]
    if answer["answer"] == "not answered":
        text += f": {answer['why']}"
    return f"{MARK[answer['answer']]} {text}"


def summary(answers: Sequence[ClaimRecord]) -> str:
    """Return a sentence with the count of each result."""
    counts = {w: sum(a["answer"] == w for a in answers) for w in MARK}
    listed = ", ".join(f"{n} {w}" for w, n in counts.items() if n)
    return f"Of {len(answers)} claim{'s' if len(answers) != 1 else ''}: {listed}."


def tests(answers: Sequence[ClaimRecord]) -> str:
    """Return a sentence on the tests that decided, with the number of claims of each."""
    counts = {test: sum(a["test"] == test for a in answers) for test in TESTS}
    by = "; ".join(f"{TESTS[test]} ({n})" for test, n in counts.items() if n)
    return f"p by the test {by}; corrected for all claims (Holm)." if by else "No claim was tested."


def ground(answer: ClaimRecord) -> str:
    """Return the seeds, networks and rows behind a result, and the test that decided."""
    if answer["answer"] == "not answered":
        return "–"
    rows = f", {answer['rows']:,} rows" if answer["rows"] else ""
    test = f"; test over {answer['test']}" if answer["test"] else ""
    seeds = f"{answer['seeds']} seed{'s' if answer['seeds'] != 1 else ''}"
    return f"{seeds}, {answer['networks']:,} networks{rows}{test}"


def lines(answers: Sequence[ClaimRecord]) -> Iterator[RenderableType]:
    """Yield the parts to print."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("claim", "answer", "effect", "asked", "p adjusted"):
        table.add_column(column, no_wrap=column in ("p adjusted", "asked"), overflow="fold")
    for a in answers:
        table.add_row(a["claim"]["says"], word(a), effect(a), expected(a), format_p(a["p_adjusted"]))
    yield table
    yield f"{summary(answers)} {tests(answers)}"


def _words(texts: Sequence[str] | str) -> str:
    given = [texts] if isinstance(texts, str) else list(texts)
    return ", ".join(t.removeprefix("recipe=").removeprefix("model=") for t in given)
