"""Changes of rates that are bootstrapped, as estimates per group: all compressed models with one baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.inference.to_estimates import UNDEFINED_REASONS
from fairpress.auditing.metrics.cell_bootstrap import BootstrapEstimate, bootstrap_changes
from fairpress.core.attribute import Attribute
from fairpress.core.estimate import Estimate


@dataclass(frozen=True)
class BootstrappedChanges:
    """The changes of `cell_bootstrap.BOOTSTRAPPED` from the baseline to each of the models `names`.

    Replicates of the baseline are drawn once per attribute, when the first model asks for them.
    """

    cells: Cells
    baseline: str
    names: Sequence[str]
    confidence: float
    _drawn: dict[Attribute, tuple[np.ndarray, dict[str, BootstrapEstimate]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def of(self, name: str, grouping: Grouping) -> dict[str, list[Estimate]]:
        """Return the changes of a model by rate, one estimate per group."""
        if grouping.attribute not in self._drawn:
            pairs = np.stack([self.cells.pair(self.baseline, model, grouping) for model in self.names])
            changes = bootstrap_changes(pairs, np.random.default_rng(0), self.confidence)
            self._drawn[grouping.attribute] = pairs[0].sum(axis=(1, 2, 3)), changes
        n, changes = self._drawn[grouping.attribute]
        m = self.names.index(name)
        return {
            rate: [
                Estimate(
                    float(b.change[m, g]), float(b.low[m, g]), float(b.high[m, g]), float(n[g]), "bootstrap"
                )
                if np.isfinite(b.change[m, g])
                else Estimate.not_estimable(
                    UNDEFINED_REASONS[rate] + ", by one of the models or in many replicates"
                )
                for g in range(grouping.size)
            ]
            for rate, b in changes.items()
        }
