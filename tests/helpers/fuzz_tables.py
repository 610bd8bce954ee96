"""Random tables of predictions, and what an audit must count in them by plain Python, from the texts that went in."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

MISSING = "(missing)"
FORMATS = (
    "csv",
    "semicolon",
    "tab",
    "quoted",
    "parquet",
    "pandas",
    "category",
    "polars",
    "arrow",
    "dict",
    "dictionary",
)

# Names of two classes as text, and typed columns that say the same: (text, typed or None).
CLASSES: tuple[tuple[tuple[str, str], tuple[Any, Any] | None], ...] = (
    (("0", "1"), (0, 1)),
    (("no", "yes"), None),
    (("bad", "good"), None),
    (("0.0", "1.0"), (0.0, 1.0)),
    (("False", "True"), (False, True)),
    (("01", "02"), None),
    (("<=50K", ">50K"), None),
    (("approved", "denied"), None),
    ((" a", "b"), None),
    (("1", "2"), (1, 2)),
)
# Spellings by which a model may predict the classes 0 and 1.
RESPELLED = (("0", "1"), ("0.0", "1.0"), ("False", "True"), ("false", "true"))
NAMED = {"1", "1.0", "yes", "True"}

# What makes a table one that cannot be audited: each must be refused.
FAULTS = (
    "header",
    "same name twice",
    "near-equal classes",
    "missing label",
    "stray prediction",
    "score of 1.5",
    "score in percent",
    "only scores, only the alphabet",
    "one class",
    "no such attribute",
    "no such model",
    "attribute is the label",
)

TEXTS = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\x00\ufeff"), min_size=0, max_size=8
)
CODES = st.sampled_from(
    [
        "02134",
        "2134",
        "18_24",
        "1824",
        "1.0",
        "1",
        "1e3",
        "1000",
        "True",
        "true",
        "TRUE",
        "NA",
        "nan",
        "null",
        "None",
        " a",
        "a ",
        "a",
        "A",
        "12345678901234567890",
        "12345678901234567891",
        "-",
        "?",
        "0x10",
        "2024-05-01",
        "12:30",
        "'",
        '"',
        'a"b',
        "a,b",
        "a;b",
        "a\tb",
        "a\nb",
        "\u00e9",
        "e\u0301",
    ]
)


@dataclass(frozen=True)
class Case:
    """A table by its texts, how it is stored, and what is asked."""

    label: list[str]
    models: dict[str, list[str]]
    group: list[str]
    form: str
    typed: bool
    classes: tuple[str, str]
    positive: str | None
    attribute: str
    fault: str | None
    scores: bool
    seed: int
    types: dict[str, Callable[[str], Any]] = field(default_factory=dict)


@st.composite
def cases(draw: st.DrawFn, faults: bool = True) -> Case:
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    rows = draw(st.integers(4, 120))
    (names, typed), form = draw(st.sampled_from(CLASSES)), draw(st.sampled_from(FORMATS))
    groups = draw(st.lists(st.one_of(CODES, TEXTS), min_size=1, max_size=6, unique=True))
    fault = draw(st.sampled_from((None, None, *FAULTS))) if faults else None
    y = rng.integers(0, 2, rows)
    y[:2] = 0, 1  # both classes are there
    predicted = {m: np.where(rng.random(rows) < flip, 1 - y, y) for m, flip in (("fp32", 0.2), ("int8", 0.3))}
    models = {m: [names[c] for c in codes] for m, codes in predicted.items()}
    if names[0] in ("0", "0.0", "False") and draw(st.booleans()):
        other = draw(st.sampled_from(RESPELLED))
        models = {m: [other[c] for c in codes] for m, codes in predicted.items()}
        typed = None
    positive = draw(st.sampled_from((None, *names)))
    attribute = draw(st.sampled_from(("sex", "G", "a.b", 'q"q', "Spaltenname", "select", "row id")))
    of_rows = [groups[i] for i in rng.integers(0, len(groups), rows)]
    of_rows[1] = of_rows[0]  # so that no group is the label in other words
    numeric = names[0] in ("0", "0.0", "False", "01", "1")
    if fault == "near-equal classes" and numeric:  # 0. is another spelling of 0, and no other class
        fault = "stray prediction"
    if fault == "only scores, only the alphabet" and set(names) & NAMED - {"1"}:
        fault = "score of 1.5"
    if fault == "only scores, only the alphabet" and names == ("0", "1"):
        fault = "score of 1.5"
    if fault == "same name twice" and (models["fp32"] == models["int8"] or form == "dict"):
        fault = "header" if form != "category" else None
    return Case(
        [names[c] for c in y],
        models,
        of_rows,
        form,
        typed is not None and draw(st.booleans()),
        names,
        positive,
        attribute,
        fault,
        draw(st.booleans()),
        seed,
    )


def expected(case: Case) -> dict[str, dict[str, tuple[int, int, int, int, int]]]:
    """Return model → group → (rows, true positives, false positives, true negatives, false negatives)."""
    chosen = positive_class(case)
    index = {name: i for i, name in enumerate(case.classes)}
    as_number = {"0": 0, "0.0": 0, "False": 0, "false": 0, "1": 1, "1.0": 1, "True": 1, "true": 1}

    def code(text: str) -> int:
        return index[text] if text in index else as_number[text]

    out: dict[str, dict[str, tuple[int, int, int, int, int]]] = {}
    for name, values in case.models.items():
        counts: Counter[tuple[str, bool, bool]] = Counter()
        for truth, message, group in zip(case.label, values, case.group, strict=True):
            counts[group or MISSING, index[truth] == index[chosen], code(message) == index[chosen]] += 1
        out[name] = {}
        for group in {g for g, _, _ in counts}:
            tp, fp = counts[group, True, True], counts[group, False, True]
            tn, fn = counts[group, False, False], counts[group, True, False]
            out[name][group] = (tp + fp + tn + fn, tp, fp, tn, fn)
    return out


def positive_class(case: Case) -> str:
    """Return the class that rates speak of, by the documented rule."""
    if case.positive is not None:
        return case.positive
    named = [c for c in case.classes if c in NAMED]
    return named[0] if len(named) == 1 else sorted(case.classes)[1]


def columns(case: Case) -> tuple[list[str], list[list[Any]]]:
    """Return the table's columns as names and values, with the fault of the case in it."""
    kinds = dict(CLASSES)[case.classes] if case.typed else None
    to_typed = {} if kinds is None else dict(zip(case.classes, kinds, strict=True))

    def typed(values: list[str]) -> list[Any]:
        return [to_typed.get(v, v) for v in values]

    rng = np.random.default_rng(case.seed)
    rows = len(case.label)
    table: list[tuple[str, list[Any]]] = [("label", typed(case.label))]
    table += [(m, typed(v)) for m, v in case.models.items()]
    table.append((case.attribute, list(case.group)))
    if case.attribute == "G":
        table.append(("g", ["other"] * rows))
    chosen = positive_class(case)
    if case.scores and case.fault is None:
        for name, values in case.models.items():
            table.append((f"{name}.score", _scores(values, case, chosen, rng)))
    if case.fault == "header":
        return [n for n, _ in table], [[*v[: rows // 2], n, *v[rows // 2 :]] for n, v in table]
    if case.fault == "same name twice":
        table.append(("int8", typed(case.models["fp32"])))
    if case.fault == "near-equal classes":
        table[0] = ("label", [f"{v}." if i == 2 else v for i, v in enumerate(case.label)])
    if case.fault == "missing label":
        table[0] = ("label", [None if i == 2 else v for i, v in enumerate(table[0][1])])
    if case.fault == "stray prediction":
        table[2] = ("int8", ["somewhat" if i == 2 else v for i, v in enumerate(case.models["int8"])])
    if case.fault in ("score of 1.5", "score in percent", "only scores, only the alphabet"):
        high = {"score of 1.5": 1.5, "score in percent": 100.0}.get(case.fault, 1.0)
        table = [table[0], *table[3:]]
        table += [(f"{m}.score", [high * float(s) for s in rng.random(rows)]) for m in case.models]
        for name, values in table:
            if name.endswith(".score"):
                values[:2] = [high, 0.0]
    if case.fault == "one class":
        table[0] = ("label", [table[0][1][0]] * rows)
    if case.fault == "attribute is the label":
        table[3] = (case.attribute, list(case.label))
    return [n for n, _ in table], [v for _, v in table]


def _scores(values: list[str], case: Case, chosen: str, rng: np.random.Generator) -> list[float]:
    truths = {"0": 0, "0.0": 0, "False": 0, "false": 0, "1": 1, "1.0": 1, "True": 1, "true": 1}
    at = {name: i for i, name in enumerate(case.classes)}
    yes = [at.get(v, truths.get(v)) == at[chosen] for v in values]
    return [
        float(round(0.5 + 0.5 * u if hit else 0.5 * u, 4))
        for hit, u in zip(yes, 0.99 * rng.random(len(yes)), strict=True)
    ]


def store(case: Case, folder: Path) -> Any:
    """Return the table in the form of the case: a path or a frame."""
    names, values = columns(case)
    if case.form in ("csv", "semicolon", "tab", "quoted"):
        separator = {"semicolon": ";", "tab": "\t"}.get(case.form, ",")
        sink = io.StringIO(newline="")
        writer = csv.writer(
            sink, delimiter=separator, quoting=csv.QUOTE_ALL if case.form == "quoted" else csv.QUOTE_MINIMAL
        )
        writer.writerow(names)
        writer.writerows(["" if v is None else v for v in row] for row in zip(*values, strict=True))
        path = folder / ("t.tsv" if case.form == "tab" else "t.csv")
        path.write_text(sink.getvalue(), encoding="utf-8", newline="")
        return str(path)
    arrays = [_array(v) for v in values]
    if case.form == "pandas":
        frame = pd.concat(
            [pd.Series(v, dtype=object if any(isinstance(x, str) for x in v) else None) for v in values],
            axis=1,
        )
        frame.columns = pd.Index(names)
        return frame
    if case.form == "category":
        frame = pd.concat([pd.Series(v) for v in values], axis=1)
        frame.columns = pd.Index(names)
        position = names.index(case.attribute) if case.attribute in names else 0
        parts = [
            frame.iloc[:, i].astype("category") if i == position else frame.iloc[:, i]
            for i in range(len(names))
        ]
        frame = pd.concat(parts, axis=1)
        frame.columns = pd.Index(names)
        return frame
    table = pa.Table.from_arrays(arrays, names=names)
    if case.form == "parquet":
        pq.write_table(table, folder / "t.parquet")
        return str(folder / "t.parquet")
    if case.form == "dictionary":
        coded = [a.dictionary_encode() if pa.types.is_string(a.type) else a for a in arrays]
        return pa.Table.from_arrays(coded, names=names)
    if len(set(names)) < len(names):
        return table
    if case.form == "polars":
        return pl.from_arrow(table)
    if case.form == "dict":
        return dict(zip(names, values, strict=True))
    return table


def _array(values: list[Any]) -> pa.Array:
    if any(isinstance(v, str) for v in values):
        return pa.array([None if v is None else str(v) for v in values], pa.string())
    return pa.array(values)
