"""fairpress: find out which groups lose accuracy when a neural network is compressed, and how to avoid it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fairpress.core.telemetry import silence
from fairpress.core.version import __version__

if TYPE_CHECKING:
    from fairpress.api import (
        Artifact,
        AuditReport,
        ConstraintNotMet,
        Dataset,
        FairQuantizer,
        Guard,
        audit,
        bench,
        compare,
        compress,
        compress_file,
        draw_pairs,
        embed,
        export,
        export_cells,
        link_people,
        load_dataset,
        mitigate,
        plan,
        predict,
        read_inspect,
        read_lm_eval,
        read_pair,
        search,
        thresholds,
        train,
    )

silence()


__all__ = [
    "Artifact",
    "AuditReport",
    "ConstraintNotMet",
    "Dataset",
    "FairQuantizer",
    "Guard",
    "__version__",
    "audit",
    "bench",
    "compare",
    "compress",
    "compress_file",
    "draw_pairs",
    "embed",
    "export",
    "export_cells",
    "link_people",
    "load_dataset",
    "mitigate",
    "plan",
    "predict",
    "read_inspect",
    "read_lm_eval",
    "read_pair",
    "search",
    "thresholds",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that `import fairpress` is fast."""
    if name not in __all__:
        raise AttributeError(f"module 'fairpress' has no attribute {name!r}")
    return getattr(import_module("fairpress.api"), name)
