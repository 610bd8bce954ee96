"""Counterfactual pairs: HateCheck's templates, tables that do not suit, what is printed."""

from __future__ import annotations

from itertools import combinations

import jsonschema
import numpy as np
import pandas as pd
import pytest

import fairpress as fp
from fairpress import cli
from fairpress.auditing.inference.counterfactual_pairs import counterfactual_pairs
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.output.json_schema import json_schema
from fairpress.auditing.read_table import read_table
from fairpress.core.errors import UserError

MODELS = {"baseline": "fp32", "compressed": "int8", "counterfactual": "template"}


def table(templates: int = 40) -> pd.DataFrame:
    """Four identities in each template; the compressed model flips one of them more often."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"template": np.repeat([f"t{i}" for i in range(templates)], 4)})
    frame["identity"] = np.tile(list("ABCD"), templates)
    frame["label"] = np.repeat(rng.integers(0, 2, templates), 4)
    wrong = rng.random(len(frame)) < 0.1
    frame["fp32"] = np.where(wrong, 1 - frame["label"], frame["label"])
    flip = rng.random(len(frame)) < np.where(frame["identity"] == "D", 0.5, 0.02)
    frame["int8"] = np.where(flip, 1 - frame["fp32"], frame["fp32"])
    return frame


def pairs_of(frame: pd.DataFrame, **options):
    data = read_table(frame, AuditOptions(**{**MODELS, "by": "identity", **options}))
    assert data.templates is not None
    return counterfactual_pairs(data.templates, "fp32", ["int8"], data.attributes)["int8"]


def test_shares_are_those_of_all_pairs_of_a_template():
    frame = table()
    (found,) = pairs_of(frame)
    disagree = [
        [a["fp32"] != b["fp32"], a["int8"] != b["int8"], "D" in (a["identity"], b["identity"])]
        for _, rows in frame.groupby("template")
        for a, b in combinations(rows.to_dict("records"), 2)
    ]
    before, after, with_d = np.array(disagree).T
    assert (found.all_pairs.pairs, found.all_pairs.templates) == (240, 40)
    assert found.all_pairs.before.value == pytest.approx(before.mean())
    assert found.all_pairs.after.value == pytest.approx(after.mean())
    assert found.all_pairs.change.value == pytest.approx(after.mean() - before.mean())
    d = found.identities[-1]
    assert dict(d.values) == {"identity": "D"}
    assert (d.pairs, d.change.value) == (
        120,
        pytest.approx(after.mean(where=with_d) - before.mean(where=with_d)),
    )
    assert d.change.p_adjusted < 0.05
    assert d.change.low > 0


def test_hatecheck_with_made_up_classifiers(data_folder):
    """The classifiers are made up: one that is right but at random, and one that no longer sees hate against women."""
    frame = pd.read_csv(data_folder / "hatecheck" / "test_suite_cases.csv")
    rng = np.random.default_rng(0)
    hateful = frame["label_gold"] == "hateful"
    first = np.where(rng.random(len(frame)) < 0.05, ~hateful, hateful)
    missed = first & (frame["target_ident"] == "women") & (rng.random(len(frame)) < 0.4)
    names = np.array(["non-hateful", "hateful"])
    frame["fp32"], frame["int8"] = names[first.astype(int)], names[(first & ~missed).astype(int)]
    audit = fp.audit(
        frame,
        label="label_gold",
        positive="hateful",
        by="target_ident",
        **{**MODELS, "counterfactual": "templ_id"},
    )
    (found,) = audit.comparisons[0].counterfactual
    shown = [p.values["target_ident"] for p in found.identities if p.change.p_adjusted <= 0.05]
    assert "women" in shown
    assert max(found.identities, key=lambda p: p.change.value).values == {"target_ident": "women"}
    assert len(found.identities) == 7  # rows without a target are in no pair
    assert any(
        "rows without a value of 'target_ident' belong to no counterfactual pair" in n for n in audit.notes
    )
    line = " ".join(str(audit).split())
    assert "Counterfactual pairs (same templ_id, other target_ident): of" in line
    assert "most in pairs with target_ident = women, +" in line


def test_a_template_of_one_row_or_one_identity_has_no_pairs():
    frame = table()
    extra = pd.DataFrame(
        {
            "template": ["x", "y", "y"],
            "identity": ["A", "B", "B"],
            "label": [1, 0, 0],
            "fp32": [0, 1, 0],
            "int8": [1, 1, 1],
        }
    )
    assert pairs_of(pd.concat([frame, extra])) == pairs_of(frame)


def test_rows_without_template_or_identity_are_in_no_pair_and_said_to_be():
    frame = table()
    absent = frame.head(8).assign(template=None)
    unknown = frame.head(4).assign(identity=None)
    audit = fp.audit(pd.concat([frame, absent, unknown]), **MODELS, by="identity")
    assert audit.comparisons[0].counterfactual == pairs_of(frame)
    assert "8 rows have no 'template' and belong to no counterfactual pair." in audit.notes
    assert "4 rows without a value of 'identity' belong to no counterfactual pair of it." in audit.notes


def test_labels_that_differ_within_a_template_are_named():
    frame = table()
    frame.loc[0, "label"] = 1 - frame.loc[0, "label"]
    (note,) = [n for n in fp.audit(frame, **MODELS, by="identity").notes if "the label differs" in n]
    assert note.startswith("In 1 of the 40 templates")
    assert not [n for n in fp.audit(table(), **MODELS, by="identity").notes if "the label differs" in n]


def test_one_template_has_shares_and_no_interval():
    n = 200_000
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"template": "one", "identity": rng.choice(["A", "B"], n)})
    for name in ("label", "fp32", "int8"):
        frame[name] = rng.integers(0, 2, n)
    audit = fp.audit(frame, **MODELS, by="identity")
    (found,) = audit.comparisons[0].counterfactual
    assert found.all_pairs.before.value == pytest.approx(0.5, abs=0.01)
    assert found.all_pairs.change.low is None
    assert found.all_pairs.pairs > 9.9e9
    assert "(one template: no interval)" in " ".join(str(audit).split())
    jsonschema.validate(audit.to_dict(), json_schema())


def test_two_identities_share_their_pairs_and_are_tested_once():
    frame = table()
    frame = frame[frame["identity"].isin(["A", "D"])]
    (found,) = pairs_of(frame)
    assert found.all_pairs.change.p_adjusted == found.all_pairs.change.p
    assert [p.change.p_adjusted for p in found.identities] == [None, None]
    assert found.identities[0].change.value == pytest.approx(found.all_pairs.change.value)


def test_templates_may_be_the_people_of_the_audit():
    """Which the audit advises where a column repeats."""
    assert pairs_of(table(), subject="template") == pairs_of(table())


def test_intersections_are_identities_too():
    frame = table().assign(sex=lambda f: np.where(f.index % 3 == 0, "F", "M"))
    whole = pairs_of(frame, by=["identity", "identity*sex", "sex"])
    assert [c.attribute for c in whole] == ["identity", "identity*sex", "sex"]
    assert whole[1].all_pairs.pairs >= whole[0].all_pairs.pairs


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"counterfactual": "templat"}, r"no column 'templat' .*Did you mean 'template'"),
        ({"counterfactual": "identity"}, "is an audited attribute"),
        ({"counterfactual": "label"}, "is the label or a model"),
        ({"counterfactual": "row"}, "no value of this column has rows of two groups of identity"),
        ({"counterfactual": "nothing"}, "the column 'nothing' of templates is empty"),
        ({"weight": "w"}, "leave out `weight='w'`"),
        ({"subject": "row"}, "leave out `subject='row'`"),
        ({"compressed": []}, "compares two models"),
        ({"counterfactual": ["template"]}, "the name of one column"),
    ],
)
def test_what_does_not_suit_is_refused(options, sentence):
    frame = table().assign(row=range(160), w=1.5, nothing=None)
    with pytest.raises(UserError, match=sentence):
        pairs_of(frame, **options)


def test_the_command_line_has_the_option_and_every_report_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    table().to_csv("t.csv", index=False)
    with pytest.raises(SystemExit) as stop:
        cli.main(
            [
                *("audit", "t.csv", "--by", "identity", "--baseline", "fp32", "--compressed", "int8"),
                *("--counterfactual", "template", "--html", "a.html", "--markdown", "a.md"),
            ]
        )
    assert stop.value.code == 0
    assert (
        "Counterfactual pairs (same template, other identity): of 240 pairs in 40 templates"
        in capsys.readouterr().out
    )
    assert "Counterfactual pairs by identity" in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "| pairs with |" in (tmp_path / "a.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        cli.main(
            [
                "audit",
                "t.csv",
                "--by",
                "identity",
                "--baseline",
                "fp32",
                "--compressed",
                "int8",
                "--counterfactual",
                "label",
            ]
        )
    assert stop.value.code == 2
    assert "`--counterfactual label` is the label" in capsys.readouterr().err
