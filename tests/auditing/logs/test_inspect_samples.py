"""Samples of inspect_ai: letters, right and wrong, partial credit and numbers; epochs; and what is refused."""

from __future__ import annotations

from importlib import util

import numpy as np
import pytest

import fairpress as fp
from evaluation_logs import sample
from fairpress.auditing.logs.inspect_ai import SAME
from fairpress.auditing.logs.inspect_samples import InspectLog, inspect_table
from fairpress.core.errors import MissingExtra, UserError


def logs(*of_models):
    return [
        InspectLog(name, [("toy", s) for s in samples])
        for name, samples in zip(("base", "q4", "q2"), of_models, strict=False)
    ]


def read(*of_models, **options):
    defaults = {
        "scorer": None,
        "better": None,
        "fields": (),
        "unpaired": "refuse",
        "same": SAME,
        "sources": {},
    }
    return inspect_table(logs(*of_models), **(defaults | options))


def metadata(table, key):
    value = (table.schema.metadata or {}).get(f"fairpress.{key}".encode())
    return None if value is None else value.decode()


def answered(letters, targets="AABBC", **more):
    return [
        sample(i, "C" if a == t else "I", a, t, metadata={"language": "xy"[i % 2]}, **more)
        for i, (a, t) in enumerate(zip(letters, targets, strict=True))
    ]


def test_the_class_is_the_letter_that_a_model_answered():
    table = read(answered("AABBA"), answered("BABBC"))
    assert table["label"].to_pylist() == list("AABBC")
    assert table["q4"].to_pylist() == list("BABBC")
    assert table["metadata.language"].to_pylist() == list("xyxyx")
    assert "agrees with choice in every sample" in metadata(table, "notes")


def test_an_answer_without_a_letter_is_a_class_of_its_own():
    table = read(answered(["A", None, "B", "?", "C"]), answered("AABBC"))
    assert table["base"].to_pylist() == ["A", "none", "B", "none", "C"]
    report = fp.audit(table, by="metadata.language")
    assert report.classes == ("A", "B", "C", "none")
    two = read(answered(["A", None, "B", "B"], "AABB"), answered("AABB", "AABB"))
    assert fp.audit(two, by="metadata.language").classes == ("A", "B", "none")


def test_letters_that_contradict_the_scores_are_not_believed():
    base = answered("AABBA")
    base[0].scores["choice"].value = "I"
    table = read(base, answered("AABBC"))
    assert table["base"].to_pylist() == ["wrong", "correct", "correct", "correct", "wrong"]


def test_no_answer_is_wrong_and_partial_credit_makes_a_number():
    wrong = [sample(i, v, target="text") for i, v in enumerate("CINC")]
    table = read(wrong, wrong)
    assert table["base"].to_pylist() == ["correct", "wrong", "wrong", "correct"]
    assert "2 answers have the score N" in metadata(table, "notes")
    partial = [sample(i, v, target="text") for i, v in enumerate("CIPC")]
    table = read(wrong, partial)
    assert table["q4.choice"].to_pylist() == [1.0, 0.0, 0.5, 1.0]
    assert metadata(table, "outcome") == "score=choice,better=higher"


def test_numbers_need_a_direction():
    scored = [sample(i, i / 3, target="text") for i in range(4)]
    with pytest.raises(UserError, match="whether higher is better"):
        read(scored, scored)
    assert metadata(read(scored, scored, better="lower"), "outcome") == "score=choice,better=lower"
    flags = [sample(i, i % 2 == 0, target="text") for i in range(4)]
    assert read(flags, flags, better="lower")["base"].to_pylist() == ["wrong", "correct"] * 2


def test_the_sample_is_the_unit_of_several_epochs():
    def twice(values):
        return [
            sample(i, v, target="text", epoch=e, metadata={"language": "xy"[i % 2]})
            for e in (1, 2)
            for i, v in enumerate(values)
        ]

    table = read(twice("CICICC"), twice("CIIICC"))
    assert metadata(table, "subject") == "item"
    assert fp.audit(table, by="metadata.language").subjects == 6


def test_failed_samples_are_refused_and_reported():
    failed = answered("AABBC")
    failed[2].scores = None
    with pytest.raises(UserError, match=r"1 is missing from q4 \(toy/2/1\)"):
        read(answered("AABBC"), failed)
    table = read(failed, failed)
    assert "q4: 1 of 5 samples have no score of choice (toy/2)" in metadata(table, "warnings")


def test_other_inputs_choices_and_targets_are_refused():
    for change in ({"input": "?"}, {"choices": ["y", "x"]}, {"target": "C"}):
        other = answered("AABBC")
        other[1] = sample(1, "C", "A", **({"target": "A"} | change))
        with pytest.raises(UserError, match=r"1 has other (inputs|targets) \(toy/1/1\)"):
            read(answered("AABBC"), other)
    table = read(answered("AABBC"), other, same={"input": "other inputs"})
    assert metadata(table, "warnings") == "Not required to be the same for all models: target."


def test_messages_are_compared_by_role_and_text():
    def chat(text):
        from types import SimpleNamespace

        return answered("AABBC", input=[SimpleNamespace(id="random", role="user", text=text, content=text)])

    assert read(chat("hello"), chat("hello")).num_rows == 5
    with pytest.raises(UserError, match="5 have other inputs"):
        read(chat("hello"), chat("goodbye"))


def test_of_several_scorers_one_is_chosen():
    both = answered("AABBC")
    for s in both:
        s.scores["length"] = s.scores["choice"]
    with pytest.raises(UserError, match="the scorers choice, length; choose one, such as `scorer='choice'`"):
        read(both, both)
    assert read(both, both, scorer="length").num_rows == 5
    with pytest.raises(UserError, match=r"no scorer 'lenght'\. Did you mean 'length'"):
        read(both, both, scorer="lenght")


def test_a_scorer_of_some_tasks_only_leaves_no_task_out_silently():
    two = [
        InspectLog(n, [("a", sample(1, "C", scorer="x")), ("b", sample(1, "C", scorer="y"))])
        for n in ("base", "q4")
    ]
    options = {"better": None, "fields": (), "unpaired": "refuse", "same": SAME, "sources": {}}
    with pytest.raises(UserError, match="no scorer in common"):
        inspect_table(two, scorer=None, **options)
    with pytest.raises(UserError, match="not every task has the scorer 'x'"):
        inspect_table(two, scorer="x", **options)


def test_a_score_that_is_no_number_is_named():
    listed = [sample(i, [1, 2] if i == 1 else 1.0, target="text") for i in range(3)]
    with pytest.raises(UserError, match=r"not a number in 1 of 3 samples, first '\[1, 2\]' in toy/1"):
        read(listed, listed, better="higher")


def test_inputs_are_not_in_the_table():
    table = read(answered("AABBC"), answered("AABBC"))
    assert "Question" not in str(table.to_pylist())


def test_accuracies_are_shares_of_c():
    rng = np.random.default_rng(1)
    of_model = [answered(rng.choice(list("ABC"), 30), "ABC" * 10) for _ in range(2)]
    report = fp.audit(read(*of_model), by="metadata.language")
    for model, samples in zip(report.models, of_model, strict=True):
        right = [s.scores["choice"].value == "C" for s in samples]
        assert model.overall.rates["accuracy"].value == pytest.approx(np.mean(right), abs=1e-12)


@pytest.mark.skipif(util.find_spec("inspect_ai") is not None, reason="the extra logs is installed")
def test_without_the_library_the_extra_is_named(tmp_path):
    with pytest.raises(MissingExtra, match=r"fairpress\[logs\]"):
        fp.read_inspect({"base": tmp_path, "q4": tmp_path / "x"})
