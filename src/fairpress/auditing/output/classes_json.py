"""The classes of a comparison as audit.json holds them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fairpress.auditing.class_result import BeforeAfter, ClassBound, ClassComparison, GroupClasses


def classes_to_dict(classes: ClassComparison) -> dict[str, Any]:
    """Return the rates of every class by group; the losses are in the groups, as ``class_losses``."""
    return {
        "judged": list(classes.classes),
        "rare": list(classes.rare),
        "upper": _bound(classes.upper),
        "lower": _bound(classes.lower),
        "cells": classes.cells,
        "assessed": classes.assessed,
        "cleared": classes.cleared,
        "groups": [_group(g) for g in classes.groups],
    }


def _bound(bound: ClassBound | None) -> dict[str, Any] | None:
    if bound is None:
        return None
    return {"value": bound.value, "class": bound.name, "values": dict(bound.values)}


def _group(group: GroupClasses) -> dict[str, Any]:
    return {
        "values": dict(group.values),
        "present": group.present,
        "macro_recall": _before_after(group.macro_recall),
        "macro_f1": _before_after(group.macro_f1),
        "classes": [
            {
                "class": c.name,
                "n": c.n,
                "recall": _before_after(c.recall),
                "precision": _before_after(c.precision),
            }
            for c in group.classes
        ],
        "confusion": [asdict(c) for c in group.confusion],
    }


def _before_after(x: BeforeAfter) -> dict[str, Any]:
    return {"before": x.before.to_dict(), "after": x.after.to_dict(), "change": x.change.to_dict()}
