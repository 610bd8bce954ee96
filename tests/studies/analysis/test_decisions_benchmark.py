"""`benchmarks/decisions_compas.py` on small tables: the old rule wanted three errors cleared, the new one declares one."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from fairpress.auditing.audit_table import audit_input
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.read_table import read_table
from made_study import made_study

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import decisions_compas


def data(flips, positives=0.3, rows=3000, seeds=6):
    """Two groups, one of 800 rows, over some seeds; a share of rows flips in all of them, as often to right as to wrong."""
    rng = np.random.default_rng(0)
    label = np.tile(rng.random(rows) < positives, seeds)
    base = label ^ np.tile(rng.random(rows) < 0.3, seeds)
    # As many answers become right as become wrong: 30 % are wrong at first.
    flipped = np.tile(rng.random(rows), seeds) < np.where(base == label, flips, flips * 0.7 / 0.3)
    table = pa.table(
        {
            "row_id": np.tile(np.arange(rows).astype(str), seeds),
            "seed": np.repeat(np.arange(seeds), rows),
            "label": label.astype(int),
            "group": np.tile(np.where(np.arange(rows) < 800, "few", "many"), seeds),
            "base": base.astype(int),
            "small": (base ^ flipped).astype(int),
        }
    )
    options = AuditOptions(
        baseline="base", compressed=["small"], by=["group"], positive=1, seed_column="seed"
    )
    return read_table(table, options)


def test_models_that_do_not_differ_pass_both_rules():
    same = data(0.0)
    assert decisions_compas.old_verdict(same, "small") == ("no_harm", 6, 6)
    assert audit_input(same).comparisons[0].verdict == "no_harm"


def test_where_false_negatives_are_open_only_the_old_rule_leaves_the_model_open():
    """The smaller group has 226 positives, which the old rule judged and could not clear."""
    both = data(0.03)
    old, passed, tests = decisions_compas.old_verdict(both, "small")
    (new,) = audit_input(both).comparisons
    assert (old, tests) == ("inconclusive", 6)
    assert passed < tests
    assert new.verdict == "no_harm"
    assert new.bounds[0].upper < 0.02


def test_the_table_names_both_verdicts_and_counts_them(tmp_path, capsys):
    decisions_compas.main(made_study(tmp_path / "study", rows=900))
    printed = capsys.readouterr().out
    assert "groups with at least 115 rows" in printed
    (row,) = [line for line in printed.splitlines() if line.startswith("| int8 |")]
    assert row.split(" | ")[1] == "fp32"
    assert row.count("| inconclusive |") == 2  # two seeds decide nothing
    assert "no harm against fp32, of 1: 0 by the old rule, 0 by the new one" in printed
