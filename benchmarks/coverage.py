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
from dataclasses import asdict
from pathlib import Path

import numpy as np
from simulated import (
    answers,
    assurance,
    claims,
    classes,
    decisions,
    exact_levels,
    family,
    gaps,
    guarded_loops,
    matched,
    monitoring,
    numbers,
    people,
    preferences,
    rates,
    relative_margins,
    scores,
    seed_family,
    seeds,
    verdicts,
)
from simulated.found import Found, Rng

CLAIMS: dict[str, tuple[Callable[[Rng, int], Iterator[Found]], int]] = {
    "bonett-price": (rates.bonett_price_coverage, 20_000),
    "wilson": (rates.wilson_coverage, 20_000),
    "gap": (gaps.gap_coverage, 1000),
    "gap-change": (gaps.gap_change_coverage, 600),
    "crossed": (seeds.crossed_coverage, 600),
    "verdict": (verdicts.verdict_errors, 400),
    "all-clear": (verdicts.all_clear, 20_000),
    "ppv": (rates.ppv_coverage, 1000),
    "pair": (gaps.pair_coverage, 20_000),
    "seeds": (seeds.seed_disparity, 600),
    "seed-families": (seed_family.seed_families, 400),
    "seeds-all-clear": (seeds.seed_all_clear, 600),
    "claims": (claims.claim_decisions, 2000),
    "exemplars": (seeds.exemplar_coverage, 200),
    "people": (people.people_coverage, 400),
    "weights": (people.weight_coverage, 400),
    "scores": (scores.score_coverage, 400),
    "calibration": (scores.calibration_coverage, 400),
    "search-limits": (exact_levels.search_limits, 1000),
    "printed-bound": (exact_levels.printed_bound, 1000),
    "harm-level": (exact_levels.harm_level, 1000),
    "harm-power": (exact_levels.harm_power, 1000),
    "rate-ranges": (gaps.rate_range_coverage, 1000),
    "family-null": (family.null, 1000),
    "family-weak-null": (family.weak_null, 1000),
    "family-partial-null": (family.partial_null, 1000),
    "family-power": (family.power, 600),
    "family-study": (family.study, 600),
    "family-largest": (family.largest, 600),
    "gap-change-power": (gaps.gap_change_power, 1000),
    "assurance": (assurance.row_assurance, 600),
    "seed-assurance": (assurance.seed_and_row_assurance, 300),
    "monitor-looks": (monitoring.monitored_looks, 4000),
    "top-up": (monitoring.top_up, 2000),
    "releases": (monitoring.releases, 10_000),
    "decisions": (decisions.decisions, 600),
    "relative-margin": (relative_margins.relative_margin, 10_000),
    "matched-level": (matched.matched_level, 400),
    "matched-people": (matched.matched_people, 400),
    "matched-power": (matched.matched_power, 400),
    "numbers": (numbers.number_levels, 20_000),
    "number-clusters": (numbers.cluster_levels, 20_000),
    "ratios": (numbers.ratio_levels, 10_000),
    "number-rare": (numbers.rare_levels, 1000),
    "number-rare-excess": (numbers.rare_excess, 1000),
    "number-families": (numbers.number_families, 2000),
    "number-methods": (numbers.number_methods, 10_000),
    "number-assurance": (numbers.number_assurance, 150),
    "number-power": (numbers.number_power, 10_000),
    "counterfactual-pairs": (matched.counterfactual_pairs, 600),
    "preference-levels": (preferences.levels, 5000),
    "preference-null": (preferences.null, 5000),
    "answers": (answers.answers, 5000),
    "rankings": (answers.rankings, 5000),
    "labels": (answers.labels, 600),
    "guarded-loops": (guarded_loops.guarded_loops, 4000),
    "classes-null": (classes.null, 600),
    "classes-harm": (classes.at_the_margin, 1000),
    "classes-power": (classes.power, 300),
    "classes-means": (classes.means, 2000),
    "nearly-perfect": (scores.nearly_perfect, 200),
    "correlated-scores": (scores.correlated_changes, 1000),
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
    interval = f" [{f.low:.3f}, {f.high:.3f}]" if f.simulations else ""
    share = f"{f.share:.3f}{interval}"
    simulations = f"{f.simulations:,}" if f.simulations else "exact"
    return f"| {f.claim} | {f.setting} | {simulations} | {share} | {width} | {bound} | {passed} |"


def summary(results: Sequence[Found]) -> str:
    """Return a table of the worst setting of each claim."""
    lines = ["| claim | settings | mean share | worst share | in the setting | mean width | asked |"]
    lines.append("|---|--:|--:|--:|---|--:|---|")
    last = ""
    for claim in dict.fromkeys(r.claim for r in results):
        part = [r for r in results if r.claim == claim]
        worst = (min if part[0].at_least else max)(part, key=lambda r: r.share)
        name = f"{last}: {claim[2:]}" if claim.startswith("…") else claim
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
