"""Languages from the names of tasks: only where every task has one, and each family of tasks several."""

from __future__ import annotations

import pytest

from fairpress.auditing.logs.task_languages import task_languages


@pytest.mark.parametrize(
    ("tasks", "languages"),
    [
        (["xnli_sw", "xnli_ur"], ["sw", "ur"]),
        (["afrimgsm_direct_amh", "afrimgsm_direct_swa"], ["amh", "swa"]),
        (
            ["belebele_amh_Ethi", "belebele_zho_Hans", "belebele_zho_Hant"],
            ["amh_Ethi", "zho_Hans", "zho_Hant"],
        ),
        (["arc_de", "arc_fr", "hellaswag_de", "hellaswag_fr"], ["de", "fr", "de", "fr"]),
        (["xwinograd_pt", "xwinograd_pt-BR"], ["pt", "pt-BR"]),
    ],
)
def test_the_code_at_the_end(tasks, languages):
    result = task_languages(tasks)
    assert result is not None
    assert list(result.by_task.values()) == languages


@pytest.mark.parametrize(
    "tasks",
    [
        ["xnli_sw", "xnli_all"],
        ["xnli_sw", "xnli_ur", "boolq"],
        ["xnli_sw", "xnli_ur", "arc_de"],
        ["mmlu_law", "mmlu_anatomy"],
        ["arc_easy", "arc_challenge"],
        ["xnli_sw"],
        ["sw", "ur"],
        [],
    ],
)
def test_no_language_is_guessed(tasks):
    assert task_languages(tasks) is None


def test_families_are_named():
    result = task_languages(["arc_de", "arc_fr", "xnli_de", "xnli_fr"])
    assert result is not None
    assert result.families == ("arc", "xnli")
