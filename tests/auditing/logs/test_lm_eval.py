"""Logs of lm-evaluation-harness: which answer, metric, filter and attribute an audit is about, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fairpress as fp
from evaluation_logs import DATE, choice_line, choice_task, line, two_models, write_results, write_task
from fairpress.core.errors import UserError


def metadata(table, key):
    value = (table.schema.metadata or {}).get(f"fairpress.{key}".encode())
    return None if value is None else value.decode()


def rewrite(path, change: Callable[[int, dict[str, Any]], dict[str, Any] | None]):
    (file,) = path.rglob("samples_*.jsonl")
    lines = [json.loads(x) for x in file.read_text(encoding="utf-8").splitlines()]
    changed = [x for i, y in enumerate(lines) if (x := change(i, y)) is not None]
    file.write_text("".join(json.dumps(x) + "\n" for x in changed), encoding="utf-8")


def test_the_class_is_the_chosen_answer_where_all_items_have_the_same(tmp_path):
    logs = two_models(tmp_path)
    table = fp.read_lm_eval(logs)
    for number, name in enumerate(logs):
        lines = choice_task(0, number)
        words = lines[0]["doc"]["choices"]
        chosen = [words[np.argmax([float(x) for x, _ in y["filtered_resps"]])] for y in lines]
        assert table[name].to_pylist() == chosen
        assert table["label"].to_pylist() == [words[y["doc"]["answer"]] for y in lines]
    assert table.column_names == ["item", "task", "label", "base", "q4", "answer", "category"]
    assert metadata(table, "models") == "base\nq4"
    assert (
        "agrees with acc in every item of every model; classes are the answers no, maybe, surely so"
        in metadata(table, "notes")
    )


@pytest.mark.parametrize("metric", ["acc", "acc_norm"])
def test_accuracies_are_those_that_lm_eval_computed(tmp_path, metric):
    logs = two_models(tmp_path, same_texts=False)
    report = fp.audit(fp.read_lm_eval(logs, metric=metric), by="category")
    for number, model in enumerate(report.models):
        for group in model.groups:
            values = [
                x[metric]
                for x in choice_task(0, number, same_texts=False)
                if group.values["category"] == x["doc"]["category"]
            ]
            assert group.rates["accuracy"].value == pytest.approx(np.mean(values), abs=1e-12)
    assert report.classes == ("choice 1", "choice 2", "choice 3")
    assert report.positive is None


def test_two_answers_are_no_positive_and_negative_unless_one_is_called_so(tmp_path):
    def write(words):
        for number, name in enumerate(("base", "q4")):
            rng = np.random.default_rng(number)
            lines = [
                choice_line(i, [float(x) for x in rng.normal(size=2)], i % 2, words(i)) for i in range(40)
            ]
            write_task(tmp_path / name, "toy", lines)
        return fp.audit(
            fp.read_lm_eval({n: tmp_path / n for n in ("base", "q4")}, fields="answer"), by="task"
        )

    assert write(lambda i: ("no", "yes")).positive == "yes"
    anonymous = write(lambda i: (f"a{i}", f"b{i}"))
    assert anonymous.positive is None
    assert anonymous.metrics == ("accuracy",)
    assert write(lambda i: ("A", "B")).positive is None


def test_a_choice_that_contradicts_the_accuracy_is_not_believed(tmp_path):
    logs = two_models(tmp_path)
    rewrite(logs["q4"], lambda i, x: x | ({"acc": 1 - x["acc"]} if i == 7 else {}))
    table = fp.read_lm_eval(logs)
    assert set(table["label"].to_pylist()) == {"correct"}
    assert "right or wrong: which one a model chose does not follow from the log" in metadata(table, "notes")
    expected = ["correct" if x["acc"] else "wrong" for x in choice_task(0, 1)]
    expected[7] = "wrong" if expected[7] == "correct" else "correct"
    assert table["q4"].to_pylist() == expected


def test_targets_may_be_texts(tmp_path):
    logs = two_models(tmp_path)
    for path in logs.values():
        rewrite(path, lambda i, x: x | {"target": x["doc"]["choices"][int(x["target"])]})
    assert set(fp.read_lm_eval(logs)["label"].to_pylist()) == {"no", "maybe", "surely so"}


def generated(
    value: Callable[[int], Any], metric: str, filter: str = "none", request: Any = None
) -> list[dict[str, Any]]:
    return [
        line(
            i,
            {"question": f"q{i}", "level": "ab"[i % 2]},
            f"t{i}",
            [(f"q{i}", request or {})],
            ["x"],
            {metric: value(i)},
            filter,
        )
        for i in range(20)
    ]


def test_right_and_wrong_answers_are_audited_as_such(tmp_path):
    write_task(tmp_path / "base", "toy", generated(lambda i: 1.0, "exact_match"))
    write_task(tmp_path / "q4", "toy", generated(lambda i: i % 2 == 0, "exact_match"))
    report = fp.audit(
        fp.read_lm_eval({"base": tmp_path / "base", "q4": tmp_path / "q4"}), by="level", min_rows=5
    )
    groups = {g.values["level"]: g for g in report.comparisons[0].attributes[0].groups}
    assert groups["b"].losses[0].estimate.value == 1.0
    assert groups["a"].losses[0].estimate.value == 0.0
    assert report.metrics == ("accuracy",)
    assert not [w for w in report.warnings if "always" in w]


@pytest.mark.parametrize(("recorded", "better", "text"), [
    (True, None, "score=f,better=higher"), (False, None, "score=f,better=lower"), (None, "lower", "score=f,better=lower"),
])  # fmt: skip
def test_numbers_carry_their_direction(tmp_path, recorded, better, text):
    for name in ("base", "q4"):
        write_task(tmp_path / name, "toy", generated(lambda i: i / 7, "f"))
        if recorded is not None:
            write_results(tmp_path / name, higher_is_better={"toy": {"f": recorded}})
    table = fp.read_lm_eval({n: tmp_path / n for n in ("base", "q4")}, better=better)
    assert metadata(table, "outcome") == text
    assert table["base.f"].to_pylist() == [i / 7 for i in range(20)]
    report = fp.audit(table, by="level", margin=0.1)
    level = {g.values["level"]: g for g in report.comparisons[0].attributes[0].groups}
    assert level["a"].losses[0].estimate.value == 0
    assert report.models[0].overall.rates["score"].value == pytest.approx(np.mean([i / 7 for i in range(20)]))


def test_a_direction_that_nothing_says_is_asked_for(tmp_path):
    for name in ("base", "q4"):
        write_task(tmp_path / name, "toy", generated(lambda i: i / 7, "f"))
    with pytest.raises(UserError, match=r"whether f is better .*`better='higher'` or `better='lower'`"):
        fp.read_lm_eval({n: tmp_path / n for n in ("base", "q4")})


def test_a_perplexity_is_audited_by_the_log_likelihood_of_each_item(tmp_path):
    for name in ("base", "q4"):
        write_task(tmp_path / name, "toy", generated(lambda i: [-1.5 * i, i + 1], "word_perplexity"))
        # The perplexity is better where it is lower; the log-likelihood that the log has is not.
        write_results(tmp_path / name, higher_is_better={"toy": {"word_perplexity": False}})
    table = fp.read_lm_eval({n: tmp_path / n for n in ("base", "q4")})
    assert table["base.nats"].to_pylist() == [1.5 * i for i in range(20)]
    assert table["words"].to_pylist() == [i + 1 for i in range(20)]
    assert metadata(table, "outcome") == "ratio=nats/words,better=lower"
    report = fp.audit(table, by="level", margin=0.1)
    expected = sum(1.5 * i for i in range(20)) / sum(i + 1 for i in range(20))
    assert report.models[0].overall.rates["ratio"].value == pytest.approx(expected, abs=1e-12)


def test_repeated_answers_are_rows_of_one_item(tmp_path):
    for name in ("base", "q4"):
        write_task(tmp_path / name, "toy", generated(lambda i: [True, False, i % 2 == 0], "exact_match"))
    table = fp.read_lm_eval({n: tmp_path / n for n in ("base", "q4")})
    assert table.num_rows == 60
    assert metadata(table, "subject") == "item"
    assert fp.audit(table, by="level").subjects == 20


def test_of_several_filters_one_is_chosen(tmp_path):
    for name in ("base", "q4"):
        lines = generated(lambda i: 1.0, "exact_match", "strict") + generated(
            lambda i: i % 2, "exact_match", "flexible"
        )
        write_task(tmp_path / name, "toy", lines)
    logs = {n: tmp_path / n for n in ("base", "q4")}
    with pytest.raises(UserError, match=r"in 2 ways \((strict, flexible|flexible, strict)\).*`filter="):
        fp.read_lm_eval(logs)
    assert fp.read_lm_eval(logs, filter="flexible")["base"].to_pylist() == ["wrong", "correct"] * 10
    with pytest.raises(UserError, match="Did you mean 'strict'"):
        fp.read_lm_eval(logs, filter="strickt")


def test_several_metrics_are_asked_for_unless_acc_is_one(tmp_path):
    for name in ("base", "q4"):
        lines = [
            x | {"g": 1.0, "metrics": ["exact_match", "g"]} for x in generated(lambda i: 1.0, "exact_match")
        ]
        write_task(tmp_path / name, "toy", lines)
    logs = {n: tmp_path / n for n in ("base", "q4")}
    with pytest.raises(
        UserError, match="the metrics exact_match, g; choose one, such as `metric='exact_match'`"
    ):
        fp.read_lm_eval(logs)
    with pytest.raises(UserError, match=r"no metric 'exact'\. Did you mean 'exact_match'"):
        fp.read_lm_eval(logs, metric="exact")


def test_sampled_answers_are_reported(tmp_path):
    for name in ("base", "q4"):
        write_task(
            tmp_path / name, "toy", generated(lambda i: 1.0, "exact_match", request={"do_sample": True})
        )
    assert "toy were drawn at random" in metadata(
        fp.read_lm_eval({n: tmp_path / n for n in ("base", "q4")}), "notes"
    )


def test_languages_and_parallel_items(tmp_path):
    table = fp.read_lm_eval(two_models(tmp_path, ["qa_am", "qa_sw"]))
    assert set(zip(table["task"].to_pylist(), table["language"].to_pylist(), strict=True)) == {
        ("qa_am", "am"),
        ("qa_sw", "sw"),
    }
    assert "the names of the tasks qa_…" in metadata(table, "notes")
    assert "`subject='doc_id'`" in metadata(table, "notes")
    assert fp.audit(table, by="language", subject="doc_id").subjects == 40


def test_the_item_of_all_languages_can_be_the_unit_where_some_lack_it(tmp_path):
    logs = two_models(tmp_path, ["qa_am", "qa_sw"])
    (file,) = logs["q4"].rglob("samples_qa_am_*")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[5:]))
    table = fp.read_lm_eval(logs, unpaired="drop")
    assert "`subject='doc_id'`" in metadata(table, "notes")
    report = fp.audit(table, by="language", subject="doc_id")
    assert (report.rows, report.subjects) == (75, 40)
    assert "doc_id" in fp.read_lm_eval(logs, tasks="qa_sw", fields="doc_id").column_names


def test_fields_whose_names_are_taken_have_a_prefix(tmp_path):
    for name in ("base", "q4"):
        lines = choice_task(0, 0)
        for x in lines:
            x["doc"] |= {
                "task": "x",
                "subject": "law",
                "q4": "y",
                "person": f"p{x['doc_id']}",
                "long": "z" * 99,
            }
        write_task(tmp_path / name, "toy", lines)
    logs = {n: tmp_path / n for n in ("base", "q4")}
    names = fp.read_lm_eval(logs).column_names
    assert {"doc.task", "doc.subject", "doc.q4", "category"} <= set(names)
    assert not {"person", "question", "long"} & set(names)
    kept = fp.read_lm_eval(logs, fields=["person", "doc.category"]).column_names
    assert {"person", "doc.category"} <= set(kept)
    assert "category" not in kept


def test_a_language_of_the_documents_is_called_so_unless_the_tasks_have_one(tmp_path):
    def names(*tasks):
        for name in ("base", "q4"):
            for task in tasks:
                lines = choice_task(0, 0)
                for x in lines:
                    x["doc"]["language"] = "xy"[x["doc_id"] % 2]
                write_task(tmp_path / "-".join(tasks) / name, task, lines)
        return fp.read_lm_eval({n: tmp_path / "-".join(tasks) / n for n in ("base", "q4")}).column_names

    assert "language" in names("toy")
    assert "doc.language" not in names("toy")
    assert {"language", "doc.language"} <= set(names("qa_am", "qa_sw"))


def test_no_prompt_and_no_answer_is_in_the_table_or_the_report(tmp_path):
    table = fp.read_lm_eval(two_models(tmp_path))
    page = fp.audit(table, by="category").to_html()
    for text in ("What is number", "Answer:"):
        assert text not in json.dumps(table.to_pylist())
        assert text not in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, x: None if i == 3 else x, r"1 is missing from q4 \(toy/3\)"),
        (lambda i, x: x | {"doc_id": 4} if i == 3 else x, r"missing from q4 \(toy/3\); 1 is more than once in q4 \(toy/4\)"),
        (lambda i, x: x | {"doc_hash": "0"} if i == 3 else x, r"1 has other documents \(toy/3\)"),
        (lambda i, x: x | {"doc": {"question": "?"}} if i == 3 else x, r"1 has other documents \(toy/3\)"),
        (lambda i, x: x | {"prompt_hash": "0"}, r"40 have other prompts \(toy/0, toy/1, toy/2, …\).*`same="),
        (lambda i, x: x | {"target": "9"} if i == 3 else x, r"1 has other targets \(toy/3\)"),
        (lambda i, x: {k: v for k, v in x.items() if k != "doc_id"} if i == 3 else x, "1 of 40 lines have no doc_id"),
        (
            lambda i, x: {k: v for k, v in x.items() if k != "acc"} if i == 3 else x,
            r"not a number in 1 of 40 rows.* in toy/3",
        ),
        (lambda i, x: x | {"acc": 3} if i == 3 else x, "acc has other values than 0 and 1"),
        (lambda i, x: x | {"acc": float("nan")} if i == 3 else x, r"not a number in 1 of 40 rows, first 'NaN' in toy/3"),
    ],
)  # fmt: skip
def test_what_cannot_be_paired_is_refused_by_name(tmp_path, change, message):
    logs = two_models(tmp_path)
    rewrite(logs["q4"], change)
    with pytest.raises(UserError, match=message):
        fp.read_lm_eval(logs)


def test_what_cannot_be_paired_is_left_out_with_a_warning_above_the_report(tmp_path):
    logs = two_models(tmp_path)
    rewrite(logs["q4"], lambda i, x: None if i == 3 else x | {"doc_hash": "0"} if i == 5 else x)
    table = fp.read_lm_eval(logs, unpaired="drop")
    assert [f"toy/{i}" for i in range(40) if i not in (3, 5)] == table["item"].to_pylist()
    report = fp.audit(table, by="category")
    assert report.warnings[0].startswith("2 of 40 items are left out, because they cannot be paired")
    assert "toy/3" in str(report)


def test_other_prompts_are_accepted_where_they_are_asked_for_and_reported(tmp_path):
    logs = two_models(tmp_path)
    rewrite(logs["q4"], lambda i, x: x | {"prompt_hash": "0"})
    table = fp.read_lm_eval(logs, same=["doc", "target"])
    assert metadata(table, "warnings") == "Not required to be the same for all models: prompt."


def test_logs_without_hashes_of_prompts_are_compared_by_the_prompts(tmp_path):
    logs = two_models(tmp_path)
    for path in logs.values():
        rewrite(path, lambda i, x: {k: v for k, v in x.items() if not k.endswith("_hash")})
    assert fp.read_lm_eval(logs).num_rows == 40
    changed = {"gen_args_0": {"arg_0": "other", "arg_1": " no"}}
    rewrite(logs["q4"], lambda i, x: x | ({"arguments": x["arguments"] | changed} if i == 2 else {}))
    with pytest.raises(UserError, match=r"1 has other prompts \(toy/2\)"):
        fp.read_lm_eval(logs)


def test_the_newest_run_of_each_task_is_read_and_reported(tmp_path):
    logs = two_models(tmp_path)
    for name in logs:
        write_task(tmp_path / name / "a__model", "toy", choice_task(0, 0)[:5], "2025-01-01T00-00-00.000001")
    table = fp.read_lm_eval(logs)
    assert table.num_rows == 40
    assert f"the newest of each task is read (toy: {DATE})" in metadata(table, "notes")


def test_paths_may_be_relative_and_hold_any_characters(tmp_path, monkeypatch):
    logs = two_models(tmp_path / "[a] *b?")
    (tmp_path / "link").symlink_to(logs["q4"])
    monkeypatch.chdir(logs["base"])
    table = fp.read_lm_eval({"base": "./../base", "q4": "../../link/"})
    assert table.num_rows == 40


def test_files_may_be_named_alone_and_renamed(tmp_path):
    logs = two_models(tmp_path)
    files = {name: next(folder.rglob("samples_*")) for name, folder in logs.items()}
    assert fp.read_lm_eval(files)["task"].to_pylist() == ["toy"] * 40
    renamed = {name: file.rename(tmp_path / f"{name}.jsonl") for name, file in files.items()}
    assert fp.read_lm_eval(renamed)["item"][0].as_py() == "samples/0"
    with pytest.raises(UserError, match="is not a file of samples"):
        fp.read_lm_eval({"base": renamed["base"].rename(tmp_path / "base.txt")})


def test_a_folder_with_the_logs_of_several_models_is_refused(tmp_path):
    logs = two_models(tmp_path)
    with pytest.raises(UserError, match=r"samples in several folders, maybe of several models; name one of"):
        fp.read_lm_eval({"base": tmp_path, "q4": logs["q4"]})


def test_other_tasks_are_refused_or_left_out(tmp_path):
    logs = two_models(tmp_path, ["one", "two"])
    for file in logs["q4"].rglob("samples_two_*"):
        file.unlink()
    with pytest.raises(UserError, match="not evaluated on the same tasks: q4 has no two"):
        fp.read_lm_eval(logs)
    assert fp.read_lm_eval(logs, tasks="one").num_rows == 40
    table = fp.read_lm_eval(logs, unpaired="drop")
    assert set(table["task"].to_pylist()) == {"one"}
    assert "q4 has no two" in metadata(table, "warnings")
    with pytest.raises(UserError, match="no samples of the task 'on'"):
        fp.read_lm_eval(logs, tasks="on")


def test_other_versions_are_warned_about(tmp_path):
    logs = two_models(tmp_path)
    for version, path in zip((1, 2), logs.values(), strict=True):
        write_results(path / "a__model", lm_eval_version=f"0.4.{version}", versions={"toy": version})
    warnings = metadata(fp.read_lm_eval(logs), "warnings")
    assert "several versions of lm-eval (0.4.1 for base, 0.4.2 for q4)" in warnings
    assert "The task toy has several versions: 1 for base, 2 for q4." in warnings


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({}, "name the models and their logs"),
        ({"a,b": "x"}, "cannot be the name of a model"),
        ({"label": "x"}, "column 'label' of its own"),
        ({"base": "absent"}, "there is no file or folder absent"),
        ({"base": 3}, "is the path of a file or folder, not 3"),
    ],
)
def test_models_without_logs_are_refused(models, message):
    with pytest.raises(UserError, match=message):
        fp.read_lm_eval(models)


def test_one_log_for_two_models_is_refused(tmp_path):
    logs = two_models(tmp_path)
    with pytest.raises(UserError, match="two models have the same log"):
        fp.read_lm_eval({"base": logs["base"], "q4": logs["base"]})


def test_one_model_alone_is_audited_for_its_rates(tmp_path):
    report = fp.audit(fp.read_lm_eval({"base": two_models(tmp_path)["base"]}), by="category")
    assert report.comparisons == ()
    assert len(report.models) == 1


def test_the_same_log_likelihoods_under_two_names_are_warned_about(tmp_path):
    for name, model in (("base", 0), ("again", 0), ("q4", 1)):
        write_task(tmp_path / name, "toy", choice_task(0, model))
    table = fp.read_lm_eval({n: tmp_path / n for n in ("base", "again", "q4")})
    (warning,) = fp.audit(table, by="category").warnings
    assert warning.startswith("Every log-likelihood of again is that of base, to the last digit")
