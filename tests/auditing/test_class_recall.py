"""The recall of every class by group: values, verdicts, rare and absent classes, and what is asked wrongly."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from fairpress.api.audits import audit
from fairpress.auditing.class_recall import RARE_CLASSES, class_metric, rare_classes
from fairpress.auditing.output.json_schema import json_schema
from fairpress.cli import main
from fairpress.core.errors import UserError

QUERY = {"baseline": "fp32", "compressed": "int8", "by": "g", "metrics": ["accuracy", "recall"]}
CLASSES = ("ant", "bee", "cat", "dog")


def table(rows: int = 6000, loss: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """Rows of four classes in two groups; a share of the cats of group b is taken for dogs."""
    rng = np.random.default_rng(seed)
    y = rng.choice(4, rows, p=[0.3, 0.3, 0.2, 0.2])
    group = np.where(rng.random(rows) < 0.5, "a", "b")
    base = np.where(rng.random(rows) < 0.9, y, rng.choice(4, rows))
    flips = rng.random(rows) < 0.01
    int8 = np.where(flips, rng.choice(4, rows), base)
    int8 = np.where((y == 2) & (group == "b") & (rng.random(rows) < loss), 3, int8)
    names = np.array(CLASSES)
    return pd.DataFrame({"label": names[y], "g": group, "fp32": names[base], "int8": names[int8]})


def loss_of(group, name):
    return next(x for x in group.class_losses if x.metric == class_metric(name))


def test_rates_are_those_of_an_independent_count():
    data = table()
    classes = audit(data, **QUERY).comparisons[0].classes
    assert [dict(g.values) for g in classes.groups] == [{}, {"g": "a"}, {"g": "b"}]
    for group in classes.groups:
        part = data if not group.values else data[data.g == group.values["g"]]
        recalls, f1s = {}, {}
        for model in ("fp32", "int8"):
            counts = pd.crosstab(part.label, part[model])
            right = pd.Series({c: counts.loc[c, c] for c in CLASSES})
            recalls[model] = right / counts.sum(axis=1)
            f1s[model] = 2 * right / (counts.sum(axis=1) + counts.sum(axis=0))
            precision = right / counts.sum(axis=0)
            for c in group.classes:
                side = "before" if model == "fp32" else "after"
                found = getattr(c.recall, side), getattr(c.precision, side)
                assert [e.value for e in found] == pytest.approx([recalls[model][c.name], precision[c.name]])
                low, high = proportion_confint(right[c.name], counts.loc[c.name].sum(), method="wilson")
                assert (found[0].low, found[0].high) == pytest.approx((low, high))
                confused = {(x.label, x.predicted): getattr(x, side) for x in group.confusion}
                assert [confused.get((c.name, p), 0) for p in CLASSES] == counts.loc[c.name].tolist()
        for mean, per_class in ((group.macro_recall, recalls), (group.macro_f1, f1s)):
            assert mean.before.value == pytest.approx(per_class["fp32"].mean(), abs=1e-12)
            assert mean.after.value == pytest.approx(per_class["int8"].mean(), abs=1e-12)
            assert mean.change.value == pytest.approx(
                (per_class["int8"] - per_class["fp32"]).mean(), abs=1e-12
            )


def test_the_interval_of_macro_recall_is_that_of_a_sum_of_independent_classes():
    """Witness: Σ s_c²/n_c over K², with the sample variance of each class's paired differences."""
    data = table(20_000)
    change = audit(data, **QUERY).comparisons[0].classes.groups[0].macro_recall.change
    difference = (data.int8 == data.label).astype(float) - (data.fp32 == data.label).astype(float)
    by_class = difference.groupby(data.label)
    se = np.sqrt((by_class.var() / by_class.size()).sum()) / len(CLASSES)
    assert (change.high - change.low) / 2 == pytest.approx(1.96 * se, rel=0.05)


def test_a_class_that_a_group_loses_is_found_although_accuracy_hides_it():
    data = table(20_000, loss=0.05)
    accuracy = audit(data, **QUERY | {"metrics": ["accuracy"]}).comparisons[0]
    assert accuracy.verdict != "harm"
    assert accuracy.classes is None
    assert accuracy.overall.class_losses == ()
    report = audit(data, **QUERY)
    compared = report.comparisons[0]
    assert compared.verdict == "harm"
    a, b = compared.attributes[0].groups
    assert loss_of(b, "cat").verdict == "harm"
    assert b.verdict == "harm"
    assert loss_of(a, "cat").verdict != "harm"
    assert compared.classes.lower.name == "cat"
    assert dict(compared.classes.lower.values) == {"g": "b"}
    assert compared.classes.lower.value < loss_of(b, "cat").estimate.value < compared.classes.upper.value
    assert "✖ harm in error rate of class cat: g = b" in str(report)
    assert not report.gate().passed
    assert "error rate of class cat" in str(report.gate())


def test_accuracy_alone_is_judged_as_before_and_has_no_part_for_classes():
    data = table()
    alone = audit(data, **QUERY | {"metrics": "accuracy"}).to_dict()
    both = audit(data, **QUERY).to_dict()
    text = json.dumps(alone)
    assert "class_losses" not in text
    assert '"classes": {' not in text
    for name in ("value", "low", "high", "n"):
        first, second = (
            x["comparisons"]["int8"]["overall"]["losses"][0]["estimate"][name] for x in (alone, both)
        )
        assert first == second


def test_a_class_without_rows_in_a_group_is_named_and_does_not_count_in_its_means():
    data = table()
    data = data[~((data.g == "b") & (data.label == "ant"))].copy()
    data.loc[data.index[:3], "int8"] = "yak"
    report = audit(data, **QUERY)
    compared = report.comparisons[0]
    b = compared.attributes[0].groups[1]
    absent = loss_of(b, "ant")
    assert absent.verdict == "not_estimable"
    assert absent.estimate.reason == "no rows of this class in this group"
    everybody, a_classes, b_classes = compared.classes.groups
    assert (everybody.present, a_classes.present, b_classes.present) == (4, 4, 3)
    part = data[data.g == "b"]
    recall = (part.fp32 == part.label).groupby(part.label).mean()
    assert b_classes.macro_recall.before.value == pytest.approx(recall.mean())
    assert "yak" not in compared.classes.classes
    assert any("never the label" in note and "yak" in note for note in report.notes)
    ants = [c for c in b_classes.classes if c.name == "ant"]
    assert all(c.n == 0 and c.recall.before.value is None for c in ants)


def test_rare_classes_are_judged_alone_and_together_and_named():
    rng = np.random.default_rng(1)
    y = rng.choice(6, 8000, p=[0.45, 0.45, 0.03, 0.03, 0.02, 0.02])
    names = np.array(["a", "b", "r1", "r2", "r3", "r4"])
    int8 = np.where(rng.random(len(y)) < 0.01, (y + 1) % 6, y)
    data = pd.DataFrame(
        {"label": names[y], "fp32": names[y], "int8": names[int8], "g": rng.choice(["x", "y"], len(y))}
    )
    report = audit(data, **QUERY)
    compared = report.comparisons[0]
    assert compared.classes.rare == ("r1", "r2", "r3", "r4")
    together = next(x for x in compared.overall.class_losses if x.metric == RARE_CLASSES)
    rare = np.isin(data.label, compared.classes.rare)
    assert together.estimate.n == rare.sum()
    assert together.estimate.value == pytest.approx((data.int8 != data.label)[rare].mean())
    assert together.assessed
    assert not loss_of(compared.overall, "r1").assessed
    assert any("r1, r2, r3, r4" in note for note in report.notes)


def test_which_classes_are_rare_depends_on_their_rows_and_never_pools_everybody():
    classes = ("a", "b", "c", "d")
    assert rare_classes(np.array([500, 250, 120, 0]), classes, 366) == ("b", "c")
    assert rare_classes(np.array([500, 250, 0, 0]), classes, 366) == ()
    assert rare_classes(np.array([500, 100, 100, 0]), classes, 366) == ()
    assert rare_classes(np.array([300, 300, 300, 300]), classes, 366) == ()


@pytest.mark.parametrize("extra", [{"subject": "person"}, {"weight": "w"}, {"seed_column": "seed"}])
def test_people_weights_and_seeds_enter_as_they_do_for_accuracy(extra):
    one = table(1500)
    one["row_id"] = range(len(one))
    one["person"] = one.index // 3
    one["w"] = np.where(one.g == "a", 0.5, 1.5)
    data = one.assign(seed=0)
    if "seed_column" in extra:
        other = one.assign(seed=1)
        other["int8"] = np.where(np.arange(len(other)) % 50 == 0, "ant", other.int8)
        data = pd.concat([data, other], ignore_index=True)
    compared = audit(data, **QUERY, **extra).comparisons[0]
    w = data.w if "weight" in extra else pd.Series(1.0, data.index)
    cats = data.label == "cat"
    loss = ((data.fp32 == data.label).astype(float) - (data.int8 == data.label))[cats]
    assert loss_of(compared.overall, "cat").estimate.value == pytest.approx(np.average(loss, weights=w[cats]))
    rates = {c.name: c for c in compared.classes.groups[0].classes}
    predicted = data.int8 == "dog"
    right = (data.label == "dog")[predicted]
    assert rates["dog"].precision.after.value == pytest.approx(
        np.average(right, weights=w[predicted]), abs=2e-3
    )
    assert compared.classes.groups[0].macro_f1.change.estimable


def test_a_margin_and_rows_of_its_own():
    data = table(20_000)
    report = audit(data, **QUERY, margin={"error": "2pp", "recall": "4pp"}, min_rows={"recall": 100})
    assert report.margins["recall"].value == 0.04
    assert report.min_rows["recall"] == 100
    assert loss_of(report.comparisons[0].overall, "cat").margin == 0.04
    assert "error rate of each class 4 points" in " ".join(str(report).split())
    relative = audit(data, **QUERY, margin={"recall": "20% of baseline"})
    cat = loss_of(relative.comparisons[0].overall, "cat")
    error = (data.fp32 != data.label)[data.label == "cat"].mean()
    assert cat.margin == pytest.approx(0.2 * error, rel=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ["recall"]}, "add accuracy to `metrics=`"),
        ({"metrics": ["f1"]}, "accuracy, tpr, fpr and recall, not f1"),
        ({"metrics": "accuracy", "margin": {"recall": "1pp"}}, "recall is not judged"),
        ({"margin": {"recal": "1pp"}}, "recall"),
        ({"min_rows": {"recall": 0}}, "number of rows"),
    ],
)
def test_what_is_asked_wrongly_is_refused_with_a_remedy(change, message):
    with pytest.raises(UserError, match=message):
        audit(table(400), **QUERY | change)


def test_a_ledger_takes_no_recall(tmp_path, capsys):
    table(400).to_csv(tmp_path / "t.csv", index=False)
    command = (
        f"audit {tmp_path}/t.csv --baseline fp32 --compressed int8 --by g --metrics accuracy,recall --monitor"
    )
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), f"{tmp_path}/ledger.json"])
    assert stop.value.code == 2
    assert "does not go with the metric recall" in capsys.readouterr().err
    assert not (tmp_path / "ledger.json").exists()


def test_two_classes_have_tpr_and_fpr_instead():
    data = table(400).replace({"cat": "bee", "dog": "bee"})
    with pytest.raises(UserError, match="two classes, whose recalls are the TPR and 1 − FPR"):
        audit(data, **QUERY)


def test_every_output_takes_hostile_class_names():
    data = table(2000, loss=0.2).replace({"cat": "<b>x</b>|{{1}}", "dog": "recall-of-rare-classes\n"})
    report = audit(data, **QUERY)
    jsonschema.Draft202012Validator(json_schema()).validate(json.loads(json.dumps(report.to_dict())))
    page = report.to_html()
    assert "<b>x</b>" not in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert "Recall of every class by group" in page
    assert "macro F1 before" in page
    assert "<b>" not in report.to_markdown()
    assert report.to_latex()
    assert "\n" not in next(line for line in str(report).splitlines() if "rare-classes" in line)
