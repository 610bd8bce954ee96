"""The result of a benchmark: sizes, times, ratios, memory, and a sentence for each model that is slower than the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from fairpress.core.estimate import Estimate
from fairpress.runtime.backends.base import Kernels
from fairpress.runtime.benchmark.measure import Measurement
from fairpress.runtime.benchmark.statistics import median_ratio

SCHEMA = "fairpress.bench/1"
MANY_ROWS = 32
NO_VNNI = "This processor has no fast 8-bit instructions (VNNI)."


@dataclass(frozen=True)
class Size:
    """A model's file: bytes as shipped and gzipped (level 6), and the source of the rows that it ran on."""

    model: str
    bytes: int
    gzip_bytes: int
    inputs: str


@dataclass(frozen=True)
class BenchmarkResult:
    """Measurements of several models under the same conditions.

    Attributes
    ----------
    measurements
        By batch size, then in the order of the models.
    kernels
        (Model, runtime) → how its layers are executed, for models that are slower than the first; at the smallest batch
        size at which they are.
    notes
        Remarks on the conditions of the measurement.
    """

    sizes: Sequence[Size]
    measurements: Sequence[Measurement]
    processor: str
    kernels: Mapping[tuple[str, str], Kernels] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def slower(self) -> list[Measurement]:
        """Return the measurements whose whole confidence interval is slower than the first model."""
        return [
            m
            for m in self.measurements
            if m.speedup is not None and (m.speedup.high or m.speedup.low or 1) < 1
        ]

    def sentences(self) -> list[str]:
        """Return a sentence for each model that is slower than the first, with the likely reason."""
        slow: dict[tuple[str, str], list[Measurement]] = {}
        for m in self.slower():
            slow.setdefault((m.model, m.runtime), []).append(m)
        return [self._sentence(matches) for matches in slow.values()]

    def fastest(self) -> list[tuple[Measurement, Estimate]]:
        """Return the fastest model for each batch size, with its speedup compared with the very first model.

        Omitted if the first is fastest, or the difference is not significant. Since the fastest is selected among several,
        its interval is widened (Bonferroni).
        """
        matches = []
        for batch in dict.fromkeys(m.batch for m in self.measurements):
            first, *others = (m for m in self.measurements if m.batch == batch)
            best = min(others, key=lambda m: m.median, default=first)
            ratio = median_ratio(first.seconds, best.seconds, 1 - 0.05 / max(len(others), 1))
            if best is not first and (ratio.low or 0) > 1:
                matches.append((best, ratio))
        return matches

    def to_dict(self) -> dict[str, Any]:
        """Return the benchmark as in the JSON output."""
        return {
            "schema": SCHEMA,
            "processor": self.processor,
            "sizes": [asdict(s) for s in self.sizes],
            "measurements": [m.to_dict() for m in self.measurements],
            "fastest": [
                {"model": m.model, "runtime": m.runtime, "batch": m.batch, "speedup": ratio.to_dict()}
                for m, ratio in self.fastest()
            ],
            "sentences": self.sentences(),
            "kernels": [
                {"model": model, "runtime": runtime, **asdict(k)}
                for (model, runtime), k in self.kernels.items()
            ],
            "notes": list(self.notes),
        }

    def _sentence(self, slow: Sequence[Measurement]) -> str:
        first = slow[0]
        ratios = ", ".join(
            f"{format_ratio(inverse(m.speedup))} at batch {m.batch:,}" for m in slow if m.speedup is not None
        )
        same = any(m.model == first.against and m.runtime == first.runtime for m in self.measurements)
        model = first.model if same else f"{first.model} on {first.runtime}"
        other = first.runtime if same else self.measurements[0].runtime
        text = f"{model} is slower than {first.against} on {other}: {ratios}."
        kernels = self.kernels.get((first.model, first.runtime))
        if kernels is None or not (kernels.integer or kernels.conversions):
            return text
        layers = kernels.integer + kernels.floating
        conversions = (
            f"{kernels.conversions} conversion{'' if kernels.conversions == 1 else 's'} from or to floats"
        )
        if kernels.floating:
            return f"{text} Of its {layers} layers {kernels.floating} run in floats, with {conversions}."
        text += f" All its {layers} layers run in integers, with {conversions}."
        faster = self._faster(slow[-1])
        if faster is not None and faster.speedup is not None:
            return (
                f"{text} An integer layer has a fixed cost per call, which larger batches amortize: at batch "
                f"{faster.batch:,} it is {format_ratio(faster.speedup)} faster."
            )
        if slow[-1].batch < MANY_ROWS:
            advice = f"which a larger batch may amortize, such as {MANY_ROWS} rows."
            return f"{text} An integer layer has a fixed cost per call, {advice}"
        return f"{text} {NO_VNNI}" if "no VNNI" in self.processor else text

    def _faster(self, slow: Measurement) -> Measurement | None:
        """Return a measurement of the same model at a larger batch whose whole interval is faster; None if there is none."""
        matches = [
            m
            for m in self.measurements
            if (m.model, m.runtime) == (slow.model, slow.runtime)
            and m.batch > slow.batch
            and m.speedup is not None
            and (m.speedup.low or 0) > 1
        ]
        return matches[-1] if matches else None


def inverse(ratio: Estimate) -> Estimate:
    """Return the reciprocal of a ratio with its interval: a slowdown for a speedup."""
    assert ratio.value is not None
    low, high = (None if b is None else 1 / b for b in (ratio.high, ratio.low))
    return Estimate(1 / ratio.value, low, high, ratio.n, ratio.method)


def format_ratio(ratio: Estimate) -> str:
    """Format a ratio with its interval: ``1.35x [1.31, 1.40]``."""
    text = f"{ratio.value:.2f}x"
    return text if ratio.low is None else f"{text} [{ratio.low:.2f}, {ratio.high:.2f}]"
