"""Seeds and rows both random: changes, disparities, gaps, exemplars."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import ndtr, ndtri
from simulated.found import DELTA, Found, Rng, found

from fairpress.auditing.cells.cells import Cells, EncodedTable
from fairpress.auditing.inference.exemplars import exemplars
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.metrics.fairness import fairness_intervals
from fairpress.auditing.statistics.paired_seeds import seed_interval
from fairpress.auditing.statistics.score_bounds import loss_ruled_out
from fairpress.auditing.statistics.two_way import crossed_change, crossed_sums
from fairpress.core.attribute import OVERALL, Attribute

GROUP = Attribute(("g",))


def crossed_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Change over seeds and rows: probit row and seed effects, so that the true mean has a closed form."""
    for seeds in (2, 3, 5, 8):
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


def runs(rng: Rng, seeds: int, group: np.ndarray, wrong: tuple[float, float], lost: np.ndarray) -> Cells:
    """Return stacked runs of two models: rows and seeds move the chance to err; `lost` [groups] is on the probit scale."""
    rows = len(group)
    easy = rng.standard_normal(rows)  # rows that are hard are hard for both models and every seed
    label = rng.integers(0, 2, rows)
    predicted = {}
    for name, mean, extra in (("a", wrong[0], 0.0), ("b", wrong[1], lost[group])):
        latent = mean + extra + easy + 0.15 * rng.standard_normal((seeds, 1))
        err = rng.standard_normal((seeds, rows)) < latent
        predicted[name] = np.where(err, 1 - label, label).reshape(-1)
    one = np.ones(seeds * rows)
    names = tuple(f"g{i}" for i in range(int(group.max()) + 1))
    return Cells(
        {"g": EncodedTable(names, np.tile(group, seeds))},
        np.tile(label, seeds),
        predicted,
        one,
        one,
        one,
        ("0", "1"),
        "1",
        {"seed": np.repeat(np.arange(seeds), rows), "row": np.tile(np.arange(rows), seeds)},
    )


def seed_disparity(rng: Rng, size: int) -> Iterator[Found]:
    """Equal losses in groups of unequal size: how often an excess loss is seen; gaps, at ties and away from them."""
    for seeds in (2, 3, 8):
        for sizes in ((150, 850), (150, 250, 600)):
            group = np.repeat(np.arange(len(sizes)), sizes)
            for apart in (0.0, 0.3, 0.9):
                lost = np.linspace(0.0, apart, len(sizes))
                # Probit effects of rows and seeds: the true rates have a closed form.
                truth = float(np.ptp(ndtr((-1.8 + lost) / np.sqrt(2 + 0.15**2))))
                alarms, covered, widths = [], [], []
                for _ in range(size):
                    evidence = SeedGroupEstimator(runs(rng, seeds, group, (-2.0, -1.8), lost), "simulated")
                    grouping = evidence.cells.grouping(GROUP)
                    excess_loss = evidence.excess("b", "a", "accuracy", grouping)
                    alarms.append(bool((excess_loss.p_above(0.0) < 0.05 / len(sizes)).any()))
                    rate = evidence.smoothed("b", "accuracy", grouping)
                    gap = fairness_intervals({"accuracy": rate}, rng, dependent=True)["accuracy_gap"]
                    covered.append(gap.low <= truth <= gap.high)
                    widths.append(gap.high - gap.low)
                setting = f"{seeds} seeds, groups of {', '.join(map(str, sizes))} rows, gap {truth:.3f}"
                if not apart:
                    yield found("False disparity over seeds", setting, alarms, 0.05, at_least=False)
                yield found("Gap over groups and seeds", setting, covered, 0.93, width=float(np.mean(widths)))


def seed_all_clear(rng: Rng, size: int) -> Iterator[Found]:
    """One group in one metric whose true loss over seeds and people is exactly the margin."""
    spread = np.sqrt(2 + 0.15**2)
    means = [float(spread * ndtri(p)) for p in (0.06, 0.06 + DELTA)]
    for seeds in (2, 3, 8):
        for rows in (300, 1000, 3000):
            group = np.zeros(rows, dtype=np.int64)
            clear = []
            for _ in range(size):
                found_ = SeedGroupEstimator(
                    runs(rng, seeds, group, (means[0], means[1]), np.zeros(1)), "simulated"
                )
                grouping = found_.cells.grouping(GROUP)
                moved = found_.flip_share("b", "a", "accuracy", grouping)
                clear.append(
                    bool(
                        loss_ruled_out(-found_.change("b", "a", "accuracy", grouping), moved, DELTA, 0.95)[0]
                    )
                )
            setting = f"{seeds} seeds × {rows:,} rows"
            yield found(
                "`no_harm` of one group over seeds at a loss of exactly δ",
                setting,
                clear,
                0.05,
                at_least=False,
            )


def exemplar_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Excess of exemplars over another run of the same recipe, where the truth is 0, and over one that errs more.

    There the truth is the mean of the estimates: the excess is defined as its expectation over models and rows.
    """
    for rows in (300, 1500):
        group = np.repeat([0, 1], [rows // 3, rows - rows // 3])
        for lost in (0.0, 0.3, 1.0):
            results = []
            for _ in range(size):
                cells = runs(rng, 20, group, (-1.2, -1.2), np.full(2, lost))
                evidence = SeedGroupEstimator(cells, "simulated")
                results.append(exemplars(evidence, "a", "b", [cells.grouping(OVERALL)], 0.95).groups[0])
            low, value, high = np.array(
                [(x.excess.low, x.excess.value, x.excess.high) for x in results], float
            ).T
            truth = float(value.mean()) if lost else 0.0
            setting = f"20 models a side, {rows:,} rows, excess {100 * truth:.1f} points"
            yield found(
                "Excess of exemplars",
                setting,
                (low <= truth) & (truth <= high),
                0.93,
                width=float(np.mean(high - low)),
            )
            if not lost:
                raw = [x.share.low == 0 for x in results]
                yield found("… as counted, not beyond retraining (for comparison)", setting, raw)
