"""What a report says to somebody who reads nothing else."""

from __future__ import annotations

import pandas as pd

from fairpress import audit
from fairpress.reporting.words import who_pays


def table(lost: dict[str, int], gained: dict[str, int], rows: int = 4000) -> pd.DataFrame:
    """Return `rows` rows a group, half of either label; the baseline is right in all but those that are gained."""
    parts = []
    for group in lost:
        label = [i % 2 for i in range(rows)]
        before = [y if i >= gained[group] else 1 - y for i, y in enumerate(label)]
        after = [
            1 - y if gained[group] <= i < gained[group] + lost[group] else y for i, y in enumerate(label)
        ]
        parts.append(pd.DataFrame({"label": label, "fp32": before, "int8": after, "g": group}))
    return pd.concat(parts, ignore_index=True)


def test_where_groups_part_without_a_loss_of_their_own_the_one_that_falls_behind_is_named():
    # Each moves by 0.4 points against its own noise of about 0.17, the two part by twice as much.
    data = table({"a": 32, "b": 16}, {"a": 16, "b": 32})
    found = audit(data, baseline="fp32", compressed=["int8"], by=["g"], margin=0.003)
    comparison = found.comparisons[0]
    assert (comparison.verdict, comparison.disparate) == ("inconclusive", True)
    said = who_pays(comparison, found)
    assert "The gap in accuracy between g = a and g = b turned round by 0.8 [" in said
    assert "points: g = a −0.4, g = b +0.4." in said
    assert "Largest loss: g = a, accuracy by 0.4 [" in said


def test_where_groups_move_alike_none_is_named():
    data = table({"a": 20, "b": 20}, {"a": 18, "b": 18})
    found = audit(data, baseline="fp32", compressed=["int8"], by=["g"], margin=0.003)
    assert not found.comparisons[0].disparate
    assert "No group has a demonstrated loss, but a loss cannot be ruled out." in who_pays(
        found.comparisons[0], found
    )
