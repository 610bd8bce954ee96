"""The guard: a loop's number is the audit's bound on the loop's rows, and the verdict is on rows that it never reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

import fairpress as fp
from fairpress.core.errors import UserError
from guarded import CLASSES, baseline, guard, inputs, table, wrong_for
from small_model import make_model, write_table


@pytest.mark.parametrize("by", [["sex"], ["sex", "age"], ["sex*age"]])
@pytest.mark.parametrize("harm", ["error", "fnr"])
def test_the_number_is_the_bound_of_an_audit_of_the_same_rows(by, harm):
    guarded = guard(by=by, harm=harm, margin=0.05)
    candidate = wrong_for("loop", 0.04)
    audited = table("loop").append_column("candidate", pa.array(np.array(CLASSES)[candidate]))
    report = fp.audit(
        audited, baseline="fp32", compressed="candidate", by=by, positive="yes", harm=harm, margin=0.05
    )
    bound = report.comparisons[0].bounds[0]
    assert guarded.worst(candidate).upper == bound.upper
    assert guarded.score(candidate) == 1 - bound.upper


def test_a_number_that_watches_several_errors_is_the_worst_of_their_bounds():
    candidate = wrong_for("loop", 0.04)
    singly = {e: guard(watch=e, margin=0.06).worst(candidate) for e in ("error", "fnr", "fpr")}
    together = guard(watch=["error", "fnr", "fpr"], margin=0.06)
    assert together.worst(candidate).upper == max(w.upper for w in singly.values()) > singly["error"].upper
    report = fp.audit(
        table("loop").append_column("candidate", pa.array(np.array(CLASSES)[candidate])),
        baseline="fp32",
        compressed="candidate",
        by="sex",
        positive="yes",
        margin=0.06,
    )
    bounds = {b.metric: b.upper for b in report.comparisons[0].bounds}
    assert [w.upper for w in singly.values()] == [bounds[m] for m in ("accuracy", "tpr", "fpr")]
    assert "error rate, false negative rate and false positive rate, against fp32" in str(together)
    with pytest.raises(UserError, match="different margins"):
        guard(watch=["error", "fnr"], margin={"error": 0.03, "fnr": 0.06})
    with pytest.raises(UserError, match="not 'tpr'"):
        guard(watch="tpr")


def test_the_number_counts_people_where_they_have_several_rows():
    loop = table("loop").append_column("person", pa.array([f"l{i // 2}" for i in range(900)]))
    held_out = table("verdict").append_column("person", pa.array([f"v{i // 2}" for i in range(900)]))
    guarded = fp.Guard(loop, held_out, by="sex", subject="person", margin=0.05, positive="yes")
    candidate = np.array(CLASSES)[wrong_for("loop", 0.02)]
    report = fp.audit(
        loop.append_column("c", pa.array(candidate)),
        baseline="fp32",
        compressed="c",
        by="sex",
        positive="yes",
        subject="person",
        margin=0.05,
    )
    assert guarded.worst(candidate).upper == report.comparisons[0].bounds[0].upper
    assert guarded.worst(candidate).upper != guard().worst(candidate).upper


def test_a_candidate_that_harms_a_group_scores_less_than_one_that_spreads_the_same_errors():
    guarded = guard()
    female, male = wrong_for("loop", 0.04), wrong_for("loop", 0.04, "Male")
    half = np.where(np.arange(900) % 2 == 0, female, wrong_for("loop", 0.04, "Male"))
    assert guarded.score(baseline("loop")) > guarded.score(half) > guarded.score(female)
    assert guarded.worst(female).group == "sex = Female"
    assert guarded.worst(male).group == "sex = Male"


@pytest.mark.parametrize("relative", [False, True])
def test_a_drop_within_the_tolerance_is_a_bound_below_the_margin(relative):
    guarded = guard()
    unchanged = guarded.score(baseline("loop"))
    assert unchanged == 1 - guarded.unchanged.upper
    accepted = []
    for share in np.linspace(0, 0.05, 11):
        worst = guarded.worst(wrong_for("loop", float(share)))
        drop = unchanged - (1 - worst.upper)
        kept = drop / unchanged <= guarded.relative_tolerance if relative else drop <= guarded.tolerance
        assert kept == (worst.upper < guarded.margin)
        accepted.append(kept)
    assert accepted[0]
    assert not accepted[-1]


def test_the_number_does_not_depend_on_the_rows_of_the_verdict():
    rng = np.random.default_rng(0)
    columns = {name: table("verdict")[name].to_pylist() for name in table("verdict").column_names}
    turned = pa.table({**columns, "label": list(rng.permutation(columns["label"]))})
    turned = turned.replace_schema_metadata(table("verdict").schema.metadata)
    here = guard()
    there = fp.Guard(table("loop"), turned, by=["sex"], positive="yes", classes=CLASSES, margin=0.03)
    for share in (0.0, 0.01, 0.03):
        candidate = wrong_for("loop", share)
        assert here.worst(candidate) == there.worst(candidate)


def test_a_number_is_computed_without_touching_the_rows_of_the_verdict():
    guarded = guard()
    before = guarded.score(baseline("loop"))

    class Locked:
        def __getattr__(self, name):
            raise AssertionError(f"the rows of the verdict were read ({name})")

        def __len__(self):
            raise AssertionError("the rows of the verdict were read")

    guarded._held_out = guarded._audited = Locked()
    assert guarded.score(baseline("loop")) == before
    with pytest.raises(AssertionError, match="were read"):
        guarded.verdict(baseline("verdict"))


def test_the_same_rows_are_refused_for_loop_and_verdict():
    with pytest.raises(UserError, match=r"900 rows, such as 'loop-0'.*among those of the verdict"):
        fp.Guard(table("loop"), table("loop"), by="sex")


def test_people_are_never_on_both_sides_though_their_rows_are_different():
    loop = table("loop").append_column("subject", pa.array([f"p{i}" for i in range(900)]))
    held_out = table("verdict").append_column("subject", pa.array([f"p{i + 899}" for i in range(900)]))
    with pytest.raises(UserError, match="1 people, such as 'p899'"):
        fp.Guard(loop, held_out, by="sex")


def test_rows_that_nothing_identifies_are_refused():
    with pytest.raises(UserError, match="cannot be verified without a column"):
        fp.Guard(table("loop").drop_columns("row_id"), table("verdict").drop_columns("row_id"), by="sex")


def test_the_verdict_is_the_audit_of_the_other_rows():
    guarded = guard()
    verdict = guarded.verdict(wrong_for("verdict", 0.08), name="int4")
    expected = fp.audit(
        table("verdict").append_column("int4", pa.array(np.array(CLASSES)[wrong_for("verdict", 0.08)])),
        baseline="fp32",
        compressed="int4",
        by=["sex"],
        positive="yes",
        margin=0.03,
    )
    assert verdict.report.comparisons == expected.comparisons
    assert verdict.verdict == "harm"
    assert not verdict.passed
    assert guarded.verdict(baseline("verdict")).passed


def test_a_second_candidate_is_counted_and_the_same_one_is_not():
    guarded = guard()
    first = guarded.verdict(baseline("verdict"), name="a")
    assert guarded.verdict(baseline("verdict"), name="again") is first
    assert first.number == 1
    assert not first.report.warnings
    second = guarded.verdict(wrong_for("verdict", 0.01), name="b")
    assert second.number == 2
    assert "have now judged 2 candidates" in second.report.warnings[0]
    assert "up to 10 %" in str(second)
    with pytest.raises(UserError, match="'b' was judged with other predictions"):
        guarded.verdict(wrong_for("verdict", 0.02), name="b")


def test_the_verdict_says_how_often_the_loop_looked_at_its_own_rows():
    guarded = guard()
    for share in (0.0, 0.01, 0.02):
        guarded.score(wrong_for("loop", share))
    assert guarded.verdict(baseline("verdict")).seen_by_loop == 3
    assert len(guarded.history) == 3


def test_a_ledger_makes_every_further_candidate_need_more_evidence(tmp_path):
    guarded = guard(ledger=tmp_path / "ledger.json")
    releases = [
        guarded.verdict(wrong_for("verdict", share), name=f"c{share}").release for share in (0.0, 0.002)
    ]
    assert [r.number for r in releases] == [1, 2]
    assert releases[1].level < releases[0].level < 0.05
    another = guard(ledger=tmp_path / "ledger.json")
    assert another.verdict(wrong_for("verdict", 0.004), name="later").release.number == 3


@pytest.mark.parametrize(
    ("predicted", "problem"),
    [
        (np.zeros(899, int), "900 rows of the loop need a prediction each.*899 were given"),
        (np.full(900, 2), "2 is none"),
        (np.full(900, 0.5), "is not a decision"),
        (["maybe"] * 900, "'maybe' is not a class"),
        (np.zeros((900, 3)), "3 outputs for each row, and the label 2 classes"),
        (np.full((900, 2), np.nan), "NaN for row 0"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(predicted, problem):
    with pytest.raises(UserError, match=problem):
        guard().score(predicted)


def test_a_single_logit_labels_without_a_class_and_rows_without_identity_are_refused():
    with pytest.raises(UserError, match="1 output for each row"):
        guard().score(np.zeros((900, 1)))
    label = pa.array([None, *table("loop")["label"].to_pylist()[1:]])
    with pytest.raises(UserError, match="some rows have no 'label'"):
        fp.Guard(table("loop").set_column(1, "label", label), table("verdict"), by="sex")
    ids = pa.array(["", *table("loop")["row_id"].to_pylist()[1:]])
    with pytest.raises(UserError, match="1 rows of the loop have no 'row_id'"):
        fp.Guard(table("loop").set_column(0, "row_id", ids), table("verdict"), by="sex")


def test_a_column_that_one_of_the_tables_lacks_is_named_with_the_table():
    for column in ("sex", "fp32"):
        with pytest.raises(UserError, match=f"rows of the verdict has no column '{column}'"):
            fp.Guard(table("loop"), table("verdict").drop_columns(column), by="sex", positive="yes")


def test_tables_of_predict_need_no_options(tmp_path):
    """Baseline, classes, positive class and people are those that `predict` writes; rows are matched by their ids."""
    model = make_model(tmp_path)
    data = fp.load_dataset(str(write_table(tmp_path, 4_000)))
    tables = {part: fp.predict({"base": model}, data, part=part) for part in ("train", "test")}
    guarded = fp.Guard(tables["train"], tables["test"], by="sex")
    assert guarded.baseline == "base"
    assert guarded.worst(fp.predict({"again": model}, data, part="train")) == guarded.unchanged
    verdict = guarded.verdict(fp.predict({"again": model}, data, part="test"))
    assert verdict.name == "again"
    assert verdict.report.comparisons[0].overall.flips.right_to_wrong == 0
    assert verdict.report.positive == "yes"
    assert [m.digest for m in verdict.report.models] == [model.digest] * 2


def test_scores_need_the_order_of_the_outputs():
    unordered = fp.Guard(table("loop"), table("verdict"), by="sex", positive="yes", margin=0.03)
    with pytest.raises(UserError, match="order of the model's outputs is unknown"):
        unordered.score(inputs("loop") @ np.ones((4, 2)))
    assert unordered.score(np.array(CLASSES)[baseline("loop")]) == 1 - unordered.unchanged.upper


def test_a_tie_is_decided_for_the_positive_class_as_predict_does():
    scores = np.zeros((900, 2))
    assert guard().worst(scores) == guard().worst(np.ones(900, int))
    assert guard(positive="no").worst(scores) == guard(positive="no").worst(np.zeros(900, int))


def test_classes_by_name_position_score_and_batch_are_the_same_candidate():
    guarded, decided = guard(), wrong_for("loop", 0.02)
    scores = np.eye(2)[decided]
    same = [
        guarded.worst(x)
        for x in (decided, np.array(CLASSES)[decided], scores, np.array_split(scores, 7), decided.tolist())
    ]
    assert len(set(same)) == 1


def test_a_predictions_table_is_matched_by_row():
    guarded, decided = guard(), wrong_for("loop", 0.02)
    order = np.random.default_rng(0).permutation(900)
    predicted = pa.table(
        {"row_id": [f"loop-{i}" for i in order], "int8": np.array(CLASSES)[decided[order]]}
    ).replace_schema_metadata({"fairpress.models": "int8"})
    assert guarded.worst(predicted) == guarded.worst(decided)
    with pytest.raises(UserError, match="'loop-0' is missing"):
        guarded.worst(predicted.filter(pa.compute.not_equal(predicted["row_id"], "loop-0")))


def test_labels_in_another_order_are_noticed():
    guarded = guard()
    labels = table("loop")["label"].to_pylist()
    guarded.check_labels(labels)
    with pytest.raises(UserError, match="in another order"):
        guarded.check_labels(labels[::-1])


def test_a_relative_margin_and_rows_too_few_to_assess_anybody_are_refused():
    with pytest.raises(UserError, match="absolute one"):
        guard(margin="5% of baseline")
    with pytest.raises(
        UserError, match=r"no group of sex has the .* rows that an assessment needs among these 900"
    ):
        guard(margin=0.005)
    with pytest.raises(UserError, match=r"unchanged model.*is not ruled out by the rows of the loop"):
        guard(margin=0.003, min_rows=2)


def test_a_policy_fixes_groups_margin_and_baseline(tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "schema: fairpress.policy/1\nharm: error\nmargins: {default: {margin: 3pp, reason: agreed}}\n"
        "by: [sex]\nbaseline: fp32\ncompressed: [int8]\n"
        "signed: {name: A. Person, date: 2025-11-02, reason: agreed}\n"
    )
    guarded = fp.Guard(table("loop"), table("verdict"), policy=policy, positive="yes", classes=CLASSES)
    assert guarded.margin == 0.03
    candidate = wrong_for("loop", 0.02)
    assert guarded.worst(candidate) == guard().worst(candidate)
    verdict = guarded.verdict(baseline("verdict"), name="int8")
    assert verdict.report.policy.signed_by == "A. Person"
    assert verdict.passed
    with pytest.raises(UserError, match="fixes `margin=`"):
        fp.Guard(table("loop"), table("verdict"), policy=policy, positive="yes", margin=0.1)


def test_a_column_of_people_that_a_table_lacks_is_not_replaced_by_row_ids():
    with pytest.raises(UserError, match="rows of the loop has no column 'person'"):
        fp.Guard(table("loop"), table("verdict"), by="sex", subject="person")


def test_a_guard_says_who_is_guarded_and_who_is_not():
    text = str(guard(by=["sex", "age"]))
    assert "sex = Female, sex = Male" in text
    assert "Too few rows in the loop to be assessed by themselves: age = <25" in text
    assert "told apart by row_id" in text


def test_more_than_two_classes_are_guarded_by_the_error_rate():
    def many(part: str) -> pa.Table:
        rows = table(part)
        third = np.arange(900) % 3
        names = np.array(["a", "b", "c"])
        return pa.table(
            {
                "row_id": rows["row_id"],
                "sex": rows["sex"],
                "label": names[third],
                "fp32": names[np.where(np.arange(900) % 10 == 0, (third + 1) % 3, third)],
            }
        )

    guarded = fp.Guard(
        many("loop"), many("verdict"), by="sex", baseline="fp32", classes=["a", "b", "c"], margin=0.03
    )
    scores = np.eye(3)[np.arange(900) % 3]
    assert guarded.worst(scores).upper < 0
    assert replace(guarded.unchanged).loss == 0


def test_people_are_the_same_in_a_column_of_integers_and_in_one_of_floats():
    loop = table("loop").append_column("person", pa.array(range(900)))
    for first, shared in ((0, True), (900, False)):
        people = pa.array(np.arange(first, first + 900, dtype=float))
        held_out = table("verdict").append_column("person", people)
        options = {"by": "sex", "subject": "person", "margin": 0.05, "positive": "yes"}
        if shared:
            with pytest.raises(UserError, match="900 people, such as"):
                fp.Guard(loop, held_out, **options)
        else:
            assert "told apart by person" in str(fp.Guard(loop, held_out, **options))


def test_with_a_ledger_the_headline_of_one_look_says_that_it_is_one(tmp_path):
    verdict = guard(ledger=tmp_path / "ledger.json").verdict(wrong_for("verdict", 0.01), name="int8")
    assert str(verdict).startswith("int8, by this look alone: With 95 % confidence")
    assert str(guard().verdict(wrong_for("verdict", 0.01), name="int8")).startswith("int8: With 95 %")
