"""The worst group alone is bound X of the whole audit: over groups, pools, and small groups whose loss is shown."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fairpress.auditing.audit_table import audit_table
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.worst_group import worst_group
from fairpress.core.errors import UserError


def rows(seed: int, harmed: str = "", share: float = 0.3) -> pa.Table:
    """Return 1,500 rows of a large group, one that is assessed, and three small ones that are pooled."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, 1500)
    base = np.where(rng.random(1500) < 0.85, label, 1 - label)
    group = rng.choice(list("ABCDE"), 1500, p=[0.45, 0.28, 0.11, 0.1, 0.06])
    flips = rng.random(1500) < np.where(group == harmed, share, 0.01)
    return pa.table({"label": label, "base": base, "small": np.where(flips, 1 - base, base), "group": group})


def options(**given: object) -> AuditOptions:
    return AuditOptions(baseline="base", compressed="small", **{"by": "group", "margin": 0.03, **given})


@pytest.mark.parametrize("harmed", ["", "A", "E"])
@pytest.mark.parametrize("harm", ["error", "fnr"])
def test_it_is_the_bound_of_the_audit(harmed, harm):
    table = rows(1, harmed)
    bound = audit_table(table, options(harm=harm)).comparisons[0].bounds[0]
    worst = worst_group(table, options(harm=harm))
    assert worst.upper == bound.upper
    assert worst.error == bound.measure.name


def test_a_small_group_counts_by_itself_once_its_loss_is_shown():
    unharmed, harmed = worst_group(rows(1), options()), worst_group(rows(1, "E"), options())
    assert "group = E" in unharmed.too_few
    assert unharmed.group != "group = E"
    assert harmed.group == "group = E"


def test_small_groups_are_pooled_by_name():
    pools = [name for name in worst_group(rows(1), options()).assessed if name.endswith(", together")]
    assert pools == ["group = C, group = D, group = E, together"]


def test_rows_too_few_for_everybody_and_errors_that_are_not_judged_are_refused():
    with pytest.raises(UserError, match=r"no group of group has the [\d,]+ rows that an assessment needs"):
        worst_group(rows(1), options(margin=0.002))
    three = pa.array(np.arange(1500) % 3)
    many = pa.table({"label": three, "base": three, "small": three, "group": rows(1)["group"]})
    with pytest.raises(UserError, match="'fnr', which needs a positive class"):
        worst_group(many, options(), ["fnr"])
