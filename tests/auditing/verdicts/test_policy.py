"""A signed policy: strict, read once, recorded with its digest, and stronger than who runs the audit."""

from __future__ import annotations

import datetime
import hashlib
import json

import jsonschema
import pytest

import fairpress as fp
from fairpress.auditing.output.json_schema import json_schema
from fairpress.auditing.result import Margin
from fairpress.auditing.verdicts.policy import read_policy
from fairpress.auditing.verdicts.policy_option import policy_of
from fairpress.core.errors import UserError
from fairpress.demo_data import table
from fairpress.reporting.model_card import model_card

TEXT = """\
schema: fairpress.policy/1
harm: error
margins:
  error: {margin: 2pp, reason: what a retrained model varies by}
  fnr: 5 points
by: [sex]
signed: {name: A. Person, date: 2025-11-02, reason: agreed with the risk board}
"""


@pytest.fixture(scope="module")
def rows():
    return table(rows=4000)


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "fairpress-policy.yaml"
    file.write_text(TEXT, encoding="utf-8")
    return file


def changed(path, old, new):
    assert old in TEXT
    path.write_text(TEXT.replace(old, new), encoding="utf-8")
    return path


def test_a_policy_is_read_with_its_reasons(path):
    policy = read_policy(path)
    assert policy.margins["error"] == Margin(0.02, reason="what a retrained model varies by")
    assert policy.margins["fnr"] == Margin(0.05)
    assert (policy.require, policy.required, policy.by) == ("all-assessed", (), ("sex",))
    assert datetime.date.fromisoformat(policy.signed.date).year == 2025


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("harm: error", "harms: error", r"yaml:2:1: unknown key 'harms'. Did you mean 'harm'\?"),
        ("harm: error", "harm: tpr", "yaml:2:1: harm: must be 'error', 'fnr' or 'fpr'"),
        ("harm: error\n", "", "the key 'harm' is missing"),
        ("policy/1", "policy/2", "yaml:1:1: schema: must be 'fairpress.policy/1'"),
        ("5 points", "5%", "margins: a margin of '5%' has two readings"),
        ("fnr: 5", "tpr: 5", "there is no error 'tpr'. Did you mean 'fnr'"),
        ("by: [sex]", "by: []", "yaml:6:1: by: must be one or several names"),
        ("by: [sex]", "by: [sex]\nrequire: []", "yaml:7:1: require: requires nothing; name groups"),
        (
            "by: [sex]",
            "by: [sex]\nmin_people_cleared: 95",
            "yaml:7:1: min_people_cleared: must be less than or equal to 1",
        ),
        ("by: [sex]", "by: [sex]\nconfidence: 95", "yaml:7:1: confidence: must be less than 1"),
        ("by: [sex]", "by: [sex]\ncorrection: none", "one of westfall-young"),
        ("2025-11-02", "yesterday", "yaml:7:27: signed.date: must be a date such as 2025-01-31"),
        ("name: A. Person, ", "", "the key 'signed.name' is missing"),
        ("A. Person", '""', "signed.name"),
    ],
)
def test_a_wrong_policy_is_refused_with_its_line(path, old, new, sentence):
    with pytest.raises(UserError, match=sentence):
        read_policy(changed(path, old, new))


def test_every_problem_is_reported_at_once(path):
    path.write_text(
        TEXT.replace("harm: error", "harm: tpr").replace("by: [sex]", "bye: [sex]"), encoding="utf-8"
    )
    with pytest.raises(UserError) as error:
        read_policy(path)
    assert len(str(error.value).splitlines()) == 3


def test_no_policy_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        read_policy(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="is the path of a YAML file"):
        policy_of(3)


def test_the_digest_is_that_of_the_content_whatever_its_layout(path, tmp_path):
    one = read_policy(path).record()
    other = tmp_path / "other.yaml"
    other.write_text("# a remark\n" + TEXT.replace("{margin: 2pp,", "{margin: 0.02,"), encoding="utf-8")
    assert read_policy(other).record() == one
    text = json.dumps(one.content, sort_keys=True, separators=(",", ":"))
    assert one.digest == hashlib.sha256(text.encode("ascii")).hexdigest()
    assert read_policy(changed(path, "2pp", "3pp")).record().digest != one.digest
    assert policy_of(one.content).record() == one


def test_an_audit_takes_its_options_from_the_policy_and_records_it(path, rows):
    report = fp.audit(rows, baseline="fp32", compressed=["int8"], policy=path)
    assert report.attributes == ("sex",)
    assert report.margins["tpr"] == Margin(0.05)
    assert report.margins["fpr"] == Margin(0.02)
    digest = read_policy(path).record().digest
    document = report.to_dict()
    jsonschema.validate(document, json_schema())
    assert document["policy"]["digest"] == digest
    assert document["policy"]["date"] == "2025-11-02"
    line = f"policy {digest[:12]}, signed by A. Person on 2025-11-02"
    card = model_card(report, "int8").replace("\\", "")
    for text in (str(report).replace("\n", " "), card, report.to_markdown().replace("\\", "")):
        assert line in text
        assert "what a retrained model varies by" in text


@pytest.mark.parametrize(
    "options",
    [
        {"margin": "3pp"},
        {"harm": "fnr"},
        {"by": ["sex", "age_group"]},
        {"confidence": 0.9},
        {"correction": "holm"},
        {"min_rows": 10},
        {"metrics": ["accuracy"]},
    ],
)
def test_who_runs_the_audit_does_not_choose_what_the_policy_fixes(path, rows, options):
    with pytest.raises(UserError, match=f"signed on 2025-11-02 fixes `{next(iter(options))}=`; leave it out"):
        fp.audit(rows, baseline="fp32", compressed=["int8"], policy=path, **options)


def test_the_same_choice_and_what_the_policy_leaves_open_may_be_given(path, rows):
    report = fp.audit(
        rows,
        baseline="fp32",
        compressed=["int8"],
        by="sex",
        margin="error=2pp,fnr=5pp",
        label="label",
        policy=path,
    )
    assert report.margins["accuracy"].reason == "what a retrained model varies by"
    changed(path, "by: [sex]", "by: [sex]\nbaseline: fp32\ncompressed: int8")
    assert [c.compressed for c in fp.audit(rows, policy=path).comparisons] == ["int8"]
    with pytest.raises(UserError, match="fixes `compressed=`"):
        fp.audit(rows, compressed=["int4"], policy=path)


def test_the_content_of_a_policy_is_a_policy_in_python(path, rows):
    content = {
        "schema": "fairpress.policy/1",
        "harm": "error",
        "margins": {"error": {"margin": 0.02, "reason": "what a retrained model varies by"}, "fnr": "5pp"},
        "by": "sex",
        "signed": {"name": "A. Person", "date": "2025-11-02", "reason": "agreed with the risk board"},
    }
    report = fp.audit(rows, baseline="fp32", compressed=["int8"], policy=content)
    assert report.policy == read_policy(path).record()
    with pytest.raises(UserError, match="the policy: unknown key 'owner'"):
        fp.audit(rows, policy={**content, "owner": "me"})
