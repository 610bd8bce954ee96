"""How often the audit's intervals contain the truth, and how often its verdicts are wrong.

``python benchmarks/coverage.py [--quick] [--only NAME] [--json FILE]`` prints a Markdown table: the setting, how many
simulations, the share found with its Monte-Carlo interval (Wilson, 95 %), the mean width, the bound asked for. It calls
the functions that `fairpress audit` calls. A claim fails when the share is on the wrong side of its bound by more than
Monte-Carlo error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fairpress.auditing.crossed import crossed_change, crossed_sums
from fairpress.auditing.gap_changes import fairness_changes
from fairpress.auditing.gaps import fairness_intervals
from fairpress.auditing.intervals import agresti_caffo, bonett_price, excess_loss, wilson
from fairpress.auditing.seeds import seed_interval
from fairpress.auditing.studentized import Studentized
from fairpress.auditing.verdict import group_verdicts, judge, judge_excess, overall_verdict

DELTA = 0.02
Rng = np.random.Generator


@dataclass(frozen=True)
class Found:
    """One simulated setting. `at_least` tells which side of the bound is right; no bound: shown for comparison."""

    claim: str
    setting: str
    simulations: int
    share: float
    low: float
    high: float
    width: float | None
    bound: float | None
    at_least: bool
    passed: bool | None


def found(
    claim: str,
    setting: str,
    hits: np.ndarray | Sequence[bool],
    bound: float | None = None,
    at_least: bool = True,
    width: float | None = None,
) -> Found:
    """Sum up the hits of one setting."""
    hit = np.asarray(hits, dtype=float)
    low, high = (float(v) for v in wilson(hit.sum(), hit.size))
    passed = None if bound is None else (high >= bound if at_least else low <= bound)
    return Found(claim, setting, hit.size, float(hit.mean()), low, high, width, bound, at_least, passed)


def bonett_price_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Paired change of a rate: n rows, of which a share flips, 70 % of the flips down."""
    for n in (20, 50, 115, 300, 1000, 2800):
        for flips in (0.01, 0.04, 0.15):
            up, down = 0.3 * flips, 0.7 * flips
            truth, setting = up - down, f"n = {n:,}, {flips:.0%} flip"
            # Right in both, right → wrong, wrong → right, wrong in both; the baseline is right in 80 %.
            counts = rng.multinomial(n, [0.8 - down, down, up, 0.2 - up], size=size)
            paired = bonett_price(counts[:, 2], counts[:, 1], n)
            apart = agresti_caffo(counts[:, 0] + counts[:, 2], n) - agresti_caffo(
                counts[:, 0] + counts[:, 1], n
            )
            for name, x, bound in (
                ("Bonett–Price, paired change", paired, 0.94),
                ("… as two independent samples (for comparison)", apart, None),
            ):
                low, high = x.interval()
                yield found(
                    name, setting, (low <= truth) & (truth <= high), bound, width=float((high - low).mean())
                )


def wilson_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """One rate."""
    for n in (20, 100, 1000):
        for p in (0.05, 0.1, 0.3, 0.5, 0.95):
            low, high = wilson(rng.binomial(n, p, size), n)
            yield found(
                "Wilson, one rate",
                f"n = {n:,}, p = {p}",
                (low <= p) & (p <= high),
                0.91,
                width=float((high - low).mean()),
            )


SPREADS = {"equal": 0.0, "2 points apart": 0.02, "20 points apart": 0.2}


def gap_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Gap of a rate over groups, beside the percentile bootstrap of max − min."""
    for k in (2, 4, 10):
        for name, spread in SPREADS.items():
            p = np.linspace(0.5 - spread / 2, 0.5 + spread / 2, k)
            n = np.linspace(200, 1200, k).astype(int)
            hits, widths, usual = [], [], []
            for x in rng.binomial(n, p, size=(size, k)):
                gap = fairness_intervals({"tpr": agresti_caffo(x, n)}, rng)["equal_opportunity_difference"]
                hits.append(gap.low <= spread + 1e-12 and spread - 1e-12 <= gap.high)
                widths.append(gap.high - gap.low)
                again = rng.binomial(n, x / n, size=(400, k)) / n
                low, high = np.percentile(np.ptp(again, axis=1), [2.5, 97.5])
                usual.append(low <= spread <= high)
            setting = f"{k} groups, {name}"
            yield found("Gap over groups", setting, hits, 0.93, width=float(np.mean(widths)))
            yield found("… by a percentile bootstrap (for comparison)", setting, usual)


def gap_change_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Change of a gap: paired rows, 3 % of them flip each way, one group loses more where the gap changes."""
    for k in (2, 4, 10):
        for name, spread in SPREADS.items():
            for lost in (0.0, 0.05):
                p0 = np.linspace(0.5 - spread / 2, 0.5 + spread / 2, k)
                down = np.full(k, 0.03)
                down[0] += lost
                p1 = p0 - down + 0.03
                truth = np.ptp(p1) - np.ptp(p0)
                n = np.linspace(300, 1200, k).astype(int)
                # Cells of (ŷ₀, ŷ₁): 11, 10, 01, 00.
                cells = np.stack([p0 - down, down, np.full(k, 0.03), 1 - p0 - 0.03], axis=-1)
                hits, widths = [], []
                for x in rng.multinomial(n, cells, size=(size, k)):
                    before, after = x[:, 0] + x[:, 1], x[:, 0] + x[:, 2]
                    gap = fairness_changes(
                        {"tpr": agresti_caffo(before, n)},
                        {"tpr": agresti_caffo(after, n)},
                        {"tpr": bonett_price(x[:, 2], x[:, 1], n)},
                        rng,
                    )["equal_opportunity_difference"]
                    hits.append(gap.low <= truth + 1e-12 and truth - 1e-12 <= gap.high)
                    widths.append(gap.high - gap.low)
                setting = f"{k} groups, {name}, true change {100 * truth:.0f} points"
                yield found("Change of a gap", setting, hits, 0.93, width=float(np.mean(widths)))


def crossed_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Change over seeds and rows: probit row and seed effects, so that the true mean has a closed form."""
    from scipy.special import ndtr

    for seeds in (3, 5, 8):
        for rows in (200, 1000):
            for row_effect, seed_effect in ((0.0, 0.0), (1.0, 0.0), (1.0, 0.2), (2.0, 0.2)):
                spread = np.sqrt(1 + row_effect**2 + seed_effect**2)
                truth = float(ndtr(-2.0 / spread) - ndtr(-1.8 / spread))
                hits, widths, alone = [], [], []
                for _ in range(size):
                    parts = []
                    for mean in (-2.0, -1.8):
                        latent = (
                            mean
                            + row_effect * rng.standard_normal(rows)
                            + seed_effect * rng.standard_normal((seeds, 1))
                        )
                        parts.append(rng.standard_normal((seeds, rows)) < latent)
                    d = parts[0].astype(float) - parts[1]
                    x = crossed_change(crossed_sums(d, np.zeros(rows, int), 1))
                    low, high = x.interval()
                    hits.append(low[0] <= truth <= high[0])
                    widths.append(high[0] - low[0])
                    only = seed_interval(d.mean(axis=1)[None]).interval()
                    alone.append(only[0][0] <= truth <= only[1][0])
                setting = (
                    f"{seeds} seeds × {rows:,} rows, row effect {row_effect:g}, seed effect {seed_effect:g}"
                )
                yield found("Crossed seeds × rows", setting, hits, 0.93, width=float(np.mean(widths)))
                yield found("… by a t interval over seeds (for comparison)", setting, alone)


FINE = [(s, r) for s in range(2) for r in range(4)]
ATTRIBUTES = {
    "sex": [[i for i, (s, _) in enumerate(FINE) if s == g] for g in range(2)],
    "race": [[i for i, (_, r) in enumerate(FINE) if r == g] for g in range(4)],
    "sex*race": [[i] for i in range(8)],
}
SHARES = np.array([0.25, 0.12, 0.08, 0.05, 0.25, 0.12, 0.08, 0.05])


def artifact(rng: Rng, size: int, rows: int, lost: np.ndarray) -> Iterator[tuple[str, bool | None]]:
    """Yield the verdict and `disparate` of `size` artifacts over sex, race and sex × race.

    `lost` [8] is the true loss of each intersection, the same in accuracy, TPR and FPR; 2 % flip besides, half each way.
    """
    n = np.round(rows * SHARES[:, None] * np.array([0.55, 0.45])).astype(int)
    p = np.stack([0.01 + lost, np.full(8, 0.01), 0.98 - lost], axis=-1)[:, None]
    flips = rng.multinomial(n, p, size=(size, 8, 2)).astype(float)
    losses: dict[tuple[str, str], Studentized] = {}
    excess: dict[tuple[str, str], Studentized] = {}
    for attribute, groups in ATTRIBUTES.items():
        for metric, labels in (("accuracy", [0, 1]), ("tpr", [1]), ("fpr", [0])):
            part = flips[:, :, labels].sum(axis=2)
            total = n[:, labels].sum(axis=1)
            down, up = (np.stack([part[:, g, i].sum(axis=1) for g in groups], axis=1) for i in (0, 1))
            size_of = np.array([total[g].sum() for g in groups])
            losses[attribute, metric] = bonett_price(down, up, size_of)
            excess[attribute, metric] = excess_loss(down, up, np.broadcast_to(size_of, down.shape))
    for i in range(size):
        judged = judge({k: x[i] for k, x in losses.items()}, DELTA)
        verdicts = [
            v
            for a in ATTRIBUTES
            for v in group_verdicts([judged[a, m].verdict for m in ("accuracy", "tpr", "fpr")])
        ]
        disparate, _ = judge_excess({k: x[i] for k, x in excess.items()})
        yield overall_verdict(np.array(verdicts, dtype=object)), disparate


def verdict_errors(rng: Rng, size: int) -> Iterator[Found]:
    """False harm and false disparity over all attributes and intersections of one artifact; power; false all-clear."""
    for rows in (2000, 8000):
        for loss, name in ((0.0, "0"), (DELTA / 2, "δ/2"), (DELTA, "δ")):
            seen = list(artifact(rng, size, rows, np.full(8, loss)))
            setting = f"{rows:,} rows, true loss {name} in every group"
            yield found("False `harm`", setting, [v == "harm" for v, _ in seen], 0.05, at_least=False)
            yield found("False `disparate`", setting, [d is True for _, d in seen], 0.05, at_least=False)
            if loss == 0:
                yield found(
                    "False `loss`", setting, [v in ("harm", "loss") for v, _ in seen], 0.05, at_least=False
                )
            if loss == DELTA:
                yield found(
                    "False `no_harm`", setting, [v == "no_harm" for v, _ in seen], 0.05, at_least=False
                )
    # 2,000 rows in the group that loses 3δ: sex 0 and race 1, an eighth of the rows.
    lost = np.zeros(8)
    lost[1] = 3 * DELTA
    seen = list(artifact(rng, size, round(2000 / SHARES[1]), lost))
    setting = "one intersection of 2,000 rows loses 3δ"
    yield found("Power: `harm` or `loss`", setting, [v in ("harm", "loss") for v, _ in seen], 0.8)
    yield found("Power: `harm`", setting, [v == "harm" for v, _ in seen], 0.8)
    yield found("Power: `disparate`", setting, [d is True for _, d in seen], 0.8)
    # No group loses; every one has 2,000 rows or more.
    seen = list(artifact(rng, size, round(2000 / SHARES.min()), np.zeros(8)))
    yield found(
        "Power: `no_harm`", "true loss 0, 2,000 rows or more a group", [v == "no_harm" for v, _ in seen], 0.8
    )


CLAIMS: dict[str, tuple[Callable[[Rng, int], Iterator[Found]], int]] = {
    "bonett-price": (bonett_price_coverage, 20_000),
    "wilson": (wilson_coverage, 20_000),
    "gap": (gap_coverage, 1000),
    "gap-change": (gap_change_coverage, 600),
    "crossed": (crossed_coverage, 600),
    "verdict": (verdict_errors, 1500),
}


def simulate(names: Sequence[str], quick: bool) -> Iterator[Found]:
    """Run the claims of these names, each with a generator of its own."""
    for i, name in enumerate(CLAIMS):
        if name in names:
            claim, size = CLAIMS[name]
            yield from claim(np.random.default_rng(i), max(100, size // 10) if quick else size)


def line(f: Found) -> str:
    """Return one line of the table."""
    bound = "" if f.bound is None else f"{'≥' if f.at_least else '≤'} {f.bound:g}"
    width = "" if f.width is None else f"{f.width:.3f}"
    passed = {True: "yes", False: "**no**", None: ""}[f.passed]
    share = f"{f.share:.3f} [{f.low:.3f}, {f.high:.3f}]"
    return f"| {f.claim} | {f.setting} | {f.simulations:,} | {share} | {width} | {bound} | {passed} |"


def summary(results: Sequence[Found]) -> str:
    """Return a table of the worst setting of each claim."""
    lines = ["| claim | settings | mean share | worst share | in the setting | mean width | asked |"]
    lines.append("|---|--:|--:|--:|---|--:|---|")
    last = ""
    for claim in dict.fromkeys(r.claim for r in results):
        part = [r for r in results if r.claim == claim]
        worst = (min if part[0].at_least else max)(part, key=lambda r: r.share)
        name = f"{last}, {claim[2:]}" if claim.startswith("…") else claim
        last = last if claim.startswith("…") else claim
        asked = "" if worst.bound is None else f"{'≥' if worst.at_least else '≤'} {worst.bound:g}"
        mean = np.mean([r.share for r in part])
        widths = [r.width for r in part if r.width is not None]
        width = f"{np.mean(widths):.3f}" if widths else ""
        lines.append(
            f"| {name} | {len(part)} | {mean:.3f} | {worst.share:.3f} | {worst.setting} | {width} | {asked} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Print the tables; exit 1 when a claim fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the simulations")
    parser.add_argument("--only", choices=list(CLAIMS), action="append")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    results = []
    print(
        "| claim | setting | simulations | share | mean width | asked | holds |\n|---|---|---|---|---|---|---|"
    )
    for result in simulate(options.only or list(CLAIMS), options.quick):
        results.append(result)
        print(line(result), flush=True)
    print("\n" + summary(results))
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=1), encoding="utf-8")
    return int(any(r.passed is False for r in results))


if __name__ == "__main__":
    sys.exit(main())
