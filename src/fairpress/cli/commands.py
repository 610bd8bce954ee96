"""The commands of the program, and the module that registers each when it is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

MODULES: Mapping[str, str] = {
    "audit": "audit",
    "bench": "bench",
    "compare-audits": "compare_audits",
    "compress": "compress",
    "dashboard": "dashboard",
    "data": "data",
    "demo": "demo",
    "doctor": "demo",
    "export": "export",
    "gate": "gate",
    "mitigate": "mitigate",
    "plan": "plan",
    "predict": "predict",
    "report": "report",
    "search": "search",
    "show": "show",
    "study": "study",
    "threshold": "threshold",
    "train": "train",
}


def register(arguments: Sequence[str] = ()) -> None:
    """Register the command that starts a command line; all commands if it starts with none, such as ``--help``."""
    module = MODULES.get(arguments[0]) if arguments else None
    for name in dict.fromkeys(MODULES.values()) if module is None else (module,):
        import_module(f"fairpress.cli.{name}")
