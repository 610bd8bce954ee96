"""What people read keeps to plain words: retired ones do not come back, and sentences for beginners stay short."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from statistics import median

import pytest

from pages import ROOT

RETIRED = {
    r"anew": "again, recomputed, drawn again",
    r"(?:told|tells?)(?! us\b)(?![^.]{0,30}\bapart\b)": "reports, records, shows",
    r"besides?": "compared with, next to, in addition to",
    r"held against": "compared with",
    r"decid\w+ otherwise": "predicts differently",
    r"half[- ]trained|hardly learned": "undertrained",
    r"work [AB]": "the name of the paper",
    r"so many": "that number of, N",
    r"(?:a|the|each|two|of) repairs?": "mitigation, post-processing",
    r"roundings": "rounding errors",
    r"rectifiers?|smooth activation functions": "ReLU, GELU",
    r"at hand": "available",
    r"unevenly": "some groups more than others",
    r"chose nothing": "held-out",
    r"n needed": "rows needed",
    r"unused tokens": "unexpected arguments",
    r"somebody": "someone",
    r"hangs? on": "depends on",
    r"as ever": "as before, as always",
    r"otherwise than": "differently from",
    r"in the place of": "in place of, instead of",
    r"made here": "made by fairpress",
    r"answers? anew|found anew": "recomputed",
    r"whom nobody|nobody'?s choice": "no one, arbitrary",
}
"""Words that readers stumbled over, and what is written in their place. CHANGELOG.md keeps what it said."""

RETIRED_IN_MESSAGES = {
    r"(?<!there )(?:is|are) no(?! (?:longer|more|fewer|less|better|such)\b) \w+": "is not a",
    r"(?:answers?|predicts?) otherwise": "predicts differently",
    r"is not said": "is not known",
}
"""Words that only messages avoid."""

EASY = (
    "README.md",
    "docs/getting-started.md",
    *(f"docs/tutorials/{p.name}" for p in (ROOT / "docs/tutorials").glob("*.md")),
)


def prose(text: str) -> str:
    """Return a page without code, addresses and comments."""
    for pattern in (r"^```.*?^```", r"<!--.*?-->"):
        text = re.sub(pattern, "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`\n]*`", "`code`", text))


BRITISH = (
    r"(?:behaviou|colou|favou|honou|labou|neighbou)r\w*",
    r"(?:analy|catalogu|centr|litr)(?:se[ds]?|e[ds]?)",
    r"(?:capital|characteri|emphasi|equali|generali|initiali|lineari|maximi|minimi|normali|optimi|penali|quanti)s(?:e|ed|es|ing|ation)",
    r"(?:randomi|reali|recogni|regulari|standardi|summari|tokeni|utili)s(?:e|ed|es|ing|ation)",
    r"(?:cancell|labell|modell|travell)(?:ed|ing)",
    r"(?:de|of)fences?|licences?|judgements?|artefacts?|whilst|learnt|misspelt|grey|practise[ds]?|programmes?",
)
"""Spellings that are British only. The project writes American English (CONTRIBUTING.md)."""


@cache
def pages() -> dict[str, str]:
    files = [
        *(ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md")),
        *(ROOT / "docs").rglob("*.md"),
    ]
    return {str(f.relative_to(ROOT)): prose(f.read_text(encoding="utf-8")) for f in sorted(files)}


def strings(source: str, commands: bool) -> Iterator[str]:
    """Return the messages of a module: its strings with a blank, docstrings only where they are a command's help."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    described = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for statement in ast.walk(tree):
        # A string that stands alone below an assignment describes it.
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            described.add(id(statement.value))
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value):
            continue
        if commands or id(node) not in described:
            yield re.sub(r"`[^`\n]*`", "`code`", node.value)


@cache
def messages() -> dict[str, str]:
    return {
        str(file.relative_to(ROOT)): "\n".join(
            strings(file.read_text(encoding="utf-8"), commands=file.parent.name == "cli")
        )
        for file in sorted((ROOT / "src").rglob("*.py"))
    }


def retired_words(text: str, retired: Mapping[str, str] = RETIRED) -> list[str]:
    """Return the retired words of a text, each with what to write in its place."""
    return [
        f"{match[0]!r}: write {instead}"
        for word, instead in retired.items()
        for match in re.finditer(rf"\b(?:{word})\b", text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("texts", [pages, messages], ids=["pages", "messages"])
def test_retired_words_do_not_come_back(texts):
    found = {name: retired_words(text) for name, text in texts().items()}
    wrong = {name: words for name, words in found.items() if words}
    assert not wrong, "\n".join(f"{name}: {'; '.join(words)}" for name, words in wrong.items())


@pytest.mark.parametrize("texts", [pages, messages], ids=["pages", "messages"])
def test_spelling_is_american(texts):
    pattern = re.compile(rf"\b(?:{'|'.join(BRITISH)})\b", re.IGNORECASE)
    wrong = {name: set(pattern.findall(text)) for name, text in texts().items() if pattern.search(text)}
    wrong.pop("src/fairpress/datasets/images/decode.py", None)  # its "centre" is part of the keys of caches
    assert not wrong


def test_british_spellings_are_recognized():
    text = "The colour of an optimised, labelled centre is grey; a licence is no offence."
    assert len(re.findall("|".join(BRITISH), text)) == 7


def test_messages_say_what_is_not_so_in_idiomatic_english():
    found = {name: retired_words(text, RETIRED_IN_MESSAGES) for name, text in messages().items()}
    wrong = {name: words for name, words in found.items() if words}
    assert not wrong, "\n".join(f"{name}: {'; '.join(words)}" for name, words in wrong.items())
    assert retired_words("m/ is no model folder, and there is no file.", RETIRED_IN_MESSAGES) == [
        "'is no model': write is not a"
    ]


def test_the_retired_words_are_recognized():
    text = "The card tells how so many weights were drawn anew beside the rest."
    assert len(retired_words(text)) == 4
    assert retired_words(prose("A test tells us what `beside` cannot tell apart.")) == []


SENTENCE_END = r"(?<=[.!?])[*\"”)]*\s+(?=[A-Z0-9`*\"“(\[]|fairpress\b|torch|resnet|neural-|mobilenet)"


def sentences(page: str) -> list[int]:
    """Return the number of words of each sentence of a page; tables, headings, pictures and quotations are left out."""
    text = re.sub(r"^\s*(?:\||#|!\[|>).*$", "", pages()[page], flags=re.MULTILINE)
    text = re.sub(r"^\s*(?:[*-]|\d+\.) ", "\n\n", text, flags=re.MULTILINE)
    lengths = []
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in re.split(SENTENCE_END, " ".join(paragraph.split())):
            if len(sentence.split()) >= 3:
                lengths.append(len(sentence.split()))
    return lengths


INTRODUCED = {
    "TPR": (r"\bTPR\b", r"true (?:and )?(?:the )?(?:false )?positive rate"),
    "FPR": (r"\bFPR\b", r"false positive rate"),
    "FNR": (r"\bFNR\b", r"false negative rate"),
    "placebo": (r"\bplacebo\b", r"same (?:fine-tuning|training)|without compression|matched control"),
    "points": (r"\d points\b", r"percentage points?|pp\b"),
    "brackets": (r"\d \[[−\d]", r"95 %"),
}
"""Terms, how they occur, and what a page that uses them has to say."""


@pytest.mark.parametrize("term", INTRODUCED)
def test_terms_are_introduced_on_every_page_that_uses_them(term):
    used, introduced = INTRODUCED[term]
    texts = {
        name: text
        for name, text in pages().items()
        if not name.endswith(("-reference.md", "CONTRIBUTING.md"))
    }
    missing = [
        name
        for name, text in texts.items()
        if re.search(used, text) and not re.search(introduced, text, re.IGNORECASE)
    ]
    assert not missing


def test_no_sentence_is_longer_than_35_words():
    long = {
        name: sum(n > 35 for n in sentences(name)) for name in pages() if not name.endswith("-reference.md")
    }
    assert {name: n for name, n in long.items() if n} == {}


def test_arguments_stand_in_prose_and_not_in_cells_of_tables():
    def cells(page: str) -> int:
        rows = re.findall(r"^\|.*$", pages()[page], re.MULTILINE)
        return sum(len(cell.strip()) > 160 for row in rows for cell in row.split("|"))

    long = {name: cells(name) for name in pages() if not name.endswith("-reference.md")}
    assert {name: n for name, n in long.items() if n} == {}


@pytest.mark.parametrize("page", EASY)
def test_sentences_for_beginners_are_short(page):
    lengths = sentences(page)
    assert len(lengths) >= 20
    assert median(lengths) <= 20
