"""Import the libraries that draw and audit in one thread while others wait.

Altair inspects pandas once it is in `sys.modules`, and fails while another thread is still importing it.
"""

from __future__ import annotations

import contextlib
import threading

from fairpress.dashboard.on_demand_audit import rehearse

_turn = threading.Lock()
_loaded = False


def load() -> None:
    """Audit a minimal example and draw its page once per process, so that everything it needs is imported on return."""
    global _loaded
    with _turn:
        if _loaded:
            return
        with contextlib.suppress(Exception):  # the page that needs it reports it
            rehearse()
        _loaded = True
