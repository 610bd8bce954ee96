"""Import the libraries that draw and audit in one thread while others wait.

Altair inspects pandas once it is in `sys.modules`, and fails while another thread is still importing it.
"""

from __future__ import annotations

import contextlib
import threading

from fairpress.core.estimate import Estimate
from fairpress.dashboard.on_demand_audit import rehearse
from fairpress.reporting.forest_plot import ForestRow, forest_of

_turn = threading.Lock()
_loaded = False


def load() -> None:
    """Draw and audit a minimal example once per process, so that everything it needs is imported on return."""
    global _loaded
    with _turn:
        if _loaded:
            return
        for rehearsal in (rehearse, _draw):
            with contextlib.suppress(Exception):  # the page that needs it reports it
                rehearsal()
        _loaded = True


def _draw() -> None:
    forest_of([ForestRow("", Estimate(0.0, -0.01, 0.01, 1), "inconclusive")], 0.02, "", "")
