"""Score metrics: AUC, log loss, generalized rates, calibration error, and their paired changes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata
from simulated.found import Found, Rng, found

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.inference.score_counts import exact_counts
from fairpress.auditing.inference.score_metrics import ScorePair
from fairpress.auditing.metrics import calibration_error as calibration
from fairpress.core.attribute import OVERALL

LARGE = 4_000_000


def draw(rng: Rng, n: int, noise: float, tilt: float, steep: float = 1.0) -> tuple[np.ndarray, ...]:
    """Return labels and two models' scores: the logit t of the truth, times `steep`; compressed: tilted, and noisier."""
    t = 1.5 * rng.standard_normal(n)
    y = (rng.random(n) < 1 / (1 + np.exp(-t))).astype(np.int64)
    logits = (steep * t, steep * (1 + tilt) * t + noise * rng.standard_normal(n))
    return y, *(1 / (1 + np.exp(-z)) for z in logits)


def values(y: np.ndarray, s: np.ndarray) -> dict[str, float]:
    """Return the metrics of one model, written out."""
    ranks, n1 = rankdata(s)[y == 1].sum(), y.sum()
    return {
        "auc": (ranks - n1 * (n1 + 1) / 2) / (n1 * (len(y) - n1)),
        "log_loss": float(-np.where(y == 1, np.log(s), np.log(1 - s)).mean()),
        "generalized_fpr": float(s[y == 0].mean()),
    }


def calibration_error(y: np.ndarray, s: np.ndarray) -> float:
    """Return the expected calibration error over 15 bins, written out; `y` may be the true probabilities."""
    bins = np.minimum((s * 15).astype(int), 14)
    return float(np.abs(np.bincount(bins, weights=s - y)).sum() / len(y))


def pair(y: np.ndarray, s: tuple[np.ndarray, np.ndarray]) -> ScorePair:
    """Return what an audit makes of two score columns."""
    one = np.ones(len(y))
    cells = Cells({}, y, {}, one, one, one, ("0", "1"), "1")
    lines = exact_counts(cells, *s)
    return ScorePair.build(lines, cells, "simulated")


def score_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """One model's metrics and their changes, n rows of one group."""
    names = ("auc", "log_loss", "generalized_fpr")
    for n in (60, 300, 2000):
        for noise, tilt in ((0.1, 0.0), (0.8, 0.1)):
            y, *s = draw(rng, LARGE, noise, tilt)
            before, after = (values(y, v) for v in s)
            hits: dict[str, list[bool]] = {}
            widths: dict[str, list[float]] = {}
            for _ in range(size):
                y, *s = draw(rng, n, noise, tilt)
                both = pair(y, (s[0], s[1]))
                rate, change = both.rates(1, OVERALL, 0.95), both.changes(OVERALL, 0.95)
                for name in names:
                    label = name.replace("auc", "AUC").replace("_", " ").replace("fpr", "FPR")
                    for kind, e, truth in (
                        (f"Score metric: {label}", rate[name][0], after[name]),
                        (f"Change of a score metric: {label}", change[name][0], after[name] - before[name]),
                    ):
                        low, high = e.low or 0.0, e.high or 0.0
                        hits.setdefault(kind, []).append(low <= truth <= high)
                        widths.setdefault(kind, []).append(high - low)
            setting = f"n = {n:,}, noise {noise:g}, tilt {tilt:g}"
            for kind in sorted(hits):
                yield found(kind, setting, hits[kind], 0.93, width=float(np.mean(widths[kind])))


def nearly_perfect(rng: Rng, size: int) -> Iterator[Found]:
    """Coverage of AUCs of .99 and .999, and of a change to three times the misranked pairs, models independent.

    The positives are normal with three times the spread, or one by chance ranks below every negative.
    """
    for positives, negatives in ((10, 100), (30, 30), (30, 300), (100, 100)):
        y = np.repeat([1, 0], [positives, negatives])

        def spread_out(area: float) -> np.ndarray:
            z = np.where(y == 1, 3, 1) * rng.standard_normal(len(y)) + y * np.sqrt(10) * ndtri(area)  # noqa: B023
            return np.asarray(1 / (1 + np.exp(-z)))

        def outlying(area: float) -> np.ndarray:
            low = (y == 1) & (rng.random(len(y)) < 1 - area)  # noqa: B023
            return np.asarray((y - 2 * low + rng.random(len(y)) + 1) / 4)  # noqa: B023

        for name, scored in (("a wide spread", spread_out), ("rare outliers", outlying)):
            for area in (0.99, 0.999):
                areas, rate, change, widths = (area, 1 - 3 * (1 - area)), [], [], [[], []]  # type: ignore[var-annotated]
                for _ in range(size):
                    both = pair(y, (scored(areas[0]), scored(areas[1])))
                    for hits, e, truth, width in (
                        (rate, both.rates(0, OVERALL, 0.95)["auc"][0], areas[0], widths[0]),
                        (change, both.changes(OVERALL, 0.95)["auc"][0], areas[1] - areas[0], widths[1]),
                    ):
                        low, high = e.low or 0.0, e.high or 0.0
                        hits.append(low - 1e-9 <= truth <= high + 1e-9)
                        width.append(high - low)
                setting = f"{positives} positives, {negatives} negatives, AUC {area:g}, {name}"
                yield found(
                    "AUC of a nearly perfect ranking", setting, rate, 0.93, width=float(np.mean(widths[0]))
                )
                yield found("… its change", setting, change, 0.93, width=float(np.mean(widths[1])))


def correlated_changes(rng: Rng, size: int) -> Iterator[Found]:
    """Coverage of changes of AUC where scores hardly differ, where few positives lose everything, and where both is true.

    Of the last kind most samples show the noise alone, and no interval of a mean knows of the rest: it has no bound.
    """
    for positives, negatives in ((20, 20), (30, 300), (100, 100), (300, 1000)):
        y = np.repeat([1, 0], [positives, negatives])
        for area in (0.8, 0.95, 0.99):
            apart = np.sqrt(2) * ndtri(area)
            for noise, lost in ((0.02, 0.0), (0.1, 0.0), (0.5, 0.0), (0.0, 0.01), (0.0, 0.05), (0.1, 0.01)):
                after = (1 - lost) * ndtr(apart / np.sqrt(2 + 2 * noise**2)) + lost * ndtr(-6.0)
                hits, widths = [], []
                for _ in range(size):
                    z = rng.standard_normal(len(y)) + y * apart
                    other = z + noise * rng.standard_normal(len(y))
                    other[(y == 1) & (rng.random(len(y)) < lost)] = -6
                    scores = tuple(1 / (1 + np.exp(-v)) for v in (z, other))
                    e = pair(y, (scores[0], scores[1])).changes(OVERALL, 0.95)["auc"][0]
                    low, high = e.low or 0.0, e.high or 0.0
                    hits.append(low <= after - area <= high)
                    widths.append(high - low)
                kinds = [f"noise {noise:g}"] * (noise > 0) + [f"{lost:.0%} lose everything"] * (lost > 0)
                yield found(
                    "Change of AUC, noise hides few lost positives"
                    if lost and noise
                    else "Change of AUC, correlated models",
                    f"{positives} positives, {negatives} negatives, AUC {area:g}, {' and '.join(kinds)}",
                    hits,
                    None if lost and noise else 0.93,
                    width=float(np.mean(widths)),
                )


def calibration_coverage(rng: Rng, size: int) -> Iterator[Found]:
    """Calibration error of a calibrated and of an overconfident model, its change, beside the percentile bootstrap."""
    for n in (300, 3000):
        for steep, noise, tilt in ((1.0, 0.05, 0.0), (1.0, 0.2, 0.1), (1.5, 0.2, 0.0), (1.1, 0.05, -0.1)):
            t = 1.5 * rng.standard_normal(LARGE)
            p = 1 / (1 + np.exp(-t))
            z = (steep * t, steep * (1 + tilt) * t + noise * rng.standard_normal(LARGE))
            # Against the true probabilities, or the noise of the labels would be taken for a truth.
            truth = [calibration_error(p, 1 / (1 + np.exp(-v))) for v in z]
            one, change, usual, widths = [], [], [], [[], []]  # type: ignore[var-annotated]
            for i in range(size):
                y, *s = draw(rng, n, noise, tilt, steep)
                unit = np.ones(n)
                d = calibration.deviations(
                    (s[0], s[1]), (s[0], s[1]), (s[0] ** 2, s[1] ** 2, s[0] * s[1]), y == 1, unit, unit, None
                )
                drawn = calibration.noise(d, rng.standard_normal(calibration.standard_draws().shape))
                estimates = calibration.calibration(d, drawn, 0.05)
                _, low, high = estimates.baseline
                # A ten-thousandth, within which the truth of four million rows is known.
                one.append(low <= truth[0] + 1e-4 and truth[0] - 1e-4 <= high)
                widths[0].append(high - low)
                _, low, high = estimates.change
                change.append(low <= truth[1] - truth[0] + 1e-4 and truth[1] - truth[0] - 1e-4 <= high)
                widths[1].append(high - low)
                if i < size // 4:
                    at = rng.integers(0, n, (200, n))
                    again = [calibration_error(y[k], s[0][k]) for k in at]
                    low, high = np.percentile(again, [2.5, 97.5])
                    usual.append(bool(low <= truth[0] + 1e-4 and truth[0] - 1e-4 <= high))
            setting = f"n = {n:,}, error {truth[0]:.3f}, change {truth[1] - truth[0]:+.3f}"
            yield found("Calibration error", setting, one, 0.93, width=float(np.mean(widths[0])))
            yield found("Calibration error: by a percentile bootstrap (for comparison)", setting, usual)
            yield found("Change of calibration error", setting, change, 0.93, width=float(np.mean(widths[1])))
