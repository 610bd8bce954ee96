"""Damaged YAML of datasets, models and studies: read, or refused in one sentence, soon; nothing in it is executed."""

from __future__ import annotations

import os
import random
import time
import warnings
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

import fairpress as fp
from fairpress.core.errors import UserError
from fairpress.core.yaml_file import read_yaml
from fairpress.runtime.external.model import open_external
from fairpress.studies.load import load as load_study
from fuzz_damage import HOSTILE, a_sentence, holder, other_bytes, places
from small_model import DESCRIPTION, network, write_table

FILES = int(os.environ.get("FAIRPRESS_FUZZ_YAML", "390"))
FEW = 130
SECONDS = 10.0

TABLE = DESCRIPTION + (
    "subject: id\nbogus_keys_are_found: no\nsplit_seed: 3\ntest_share: 0.4\nmissing: ['?', none]\n"
    "missing_rows: drop\nclasses: ['no', 'yes']\nnot_missing: [NA]\n"
)
ATTRIBUTES = DESCRIPTION.replace("[sex]", "{sex: {column: sex}, age: {column: a, bins: [-1, 0.5]}}")
MODEL = "columns: [a, b, c]\noutput: y\nactivation: softmax\nclasses: ['no', 'yes']\nthreshold: 0.5\nmean: [0, 0, 0]\n"
STUDY = (
    "title: a study\ndatasets: {small: {name: t.yaml, by: [sex]}, compas: compas}\nmodel: {name: mlp, widths: [4]}\n"
    "training: {max_epochs: 2}\nrecipes: [int8, prune-50, 'int4(rows=64)']\nseeds: [0, 1]\nfolds: 2\n"
    "mitigations: {ceo: {of: [fp32], by: sex, cost: fnr}}\nphases: {first: [recipe=int8]}\n"
    "audit: {by: [sex], margin: 0.02, confidence: 0.95}\nnaive: [majority]\n"
    "choices: {other: {dataset: adult, attributes: {race: sex}}}\nplacebos: false\ndevice: cpu\n"
)
CHOSEN = STUDY.replace("datasets: {small: {name: t.yaml, by: [sex]}, compas: compas}", "dataset: t.yaml")
EXECUTED = "executed"
# What other readers of YAML execute, expand without end, or take for a type of their own.
SNIPPETS: tuple[str, ...] = (
    f"!!python/object/apply:os.mkdir ['{EXECUTED}']",
    f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{EXECUTED}']]",
    f"!!python/object/new:os.system [touch {EXECUTED}]",
    "!!python/name:os.system",
    "!!binary aGVsbG8=",
    "!!set {a, b}",
    "!!timestamp 2024-13-45",
    "!!int x",
    "!!float []",
    "!!merge x",
    "!own x",
    "*unknown",
    "&a [*a]",
    "&a {<<: *a}",
    "{<<: 1}",
    "{? [a] : b}",
    "{? {a: b} : c}",
    "2024-99-99",
    "0o9",
    "0x",
    "1:99:99",
    "1e999",
    ".inf",
    ".nan",
    "~",
    "9" * 5_000,
    "[" * 30 + "]" * 30,
    "[" * 500 + "]" * 500,
    "|\n  text",
    '"\\ud800"',
    '"\\x00"',
    "- a\n- b",
    "%YAML 9.9",
    "---\nb: 1",
    "? a",
    "\t",
    "@x",
    "`x`",
)
ALIASES = "\n".join(
    ["x0: &x0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    + [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]" for i in range(1, 9)]
)


def damaged_yaml(text: str, rng: random.Random) -> bytes:
    """Return YAML whose values, keys, lines or bytes are others."""
    what, lines = rng.random(), text.splitlines()
    if what < 0.2:
        return other_bytes(text, rng)
    if what < 0.5:
        return _other_values(text, rng).encode("utf-8", "surrogatepass")
    at = rng.randrange(len(lines))
    key, colon, value = lines[at].partition(": ")
    if what < 0.75:
        lines[at] = f"{key}{colon}{rng.choice(SNIPPETS)}"
    elif what < 0.8:
        lines.insert(at, lines[rng.randrange(len(lines))])
    elif what < 0.85:
        lines.pop(at)
    elif what < 0.9:
        lines[at] = f"{rng.choice(SNIPPETS)}: {value}"
    elif what < 0.99:
        lines[at] = rng.choice(("  ", "\t", " ", "- ", "#", "? ", "{", "&a ", "!!str ", "<<: ")) + lines[at]
    else:
        lines += ALIASES.splitlines()
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _other_values(text: str, rng: random.Random) -> str:
    """Return the document in flow style with a hostile value somewhere, however deep."""
    from ruamel.yaml import YAML

    document = YAML(typ="safe", pure=True).load(text)
    path = rng.choice(places(document))
    holder(document, path)[path[-1]] = rng.choice(HOSTILE)
    return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in document.items()) + "}\n"


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'" if value.isprintable() else ascii(value).replace("'", '"')
    return {None: "null", True: "true", False: "false"}.get(value, str(value)) if value != 0 else str(value)


class Reader:
    """A folder with a table and a network, and what reads each kind of YAML file there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.description = write_table(folder, 200)
        (folder / "net.onnx").write_bytes(network())
        self.dataset = fp.load_dataset(str(self.description))
        study = (resources.files("fairpress.studies") / "bundled" / "compas.yaml").read_text()
        self.kinds: dict[str, tuple[str, Callable[[Path], Any]]] = {
            "table": (TABLE.replace("subject: id\nbogus_keys_are_found: no\n", ""), self.table),
            "attributes": (ATTRIBUTES, self.table),
            "images": (TABLE + "image: a\nfolder: .\nsize: 16\n", self.table),
            "model": (MODEL, lambda path: open_external(folder / "net.onnx", self.dataset, path)),
            "study": (STUDY, lambda path: load_study(str(path))),
            "chosen": (CHOSEN, lambda path: load_study(str(path), ["audit.margin=0.01"], "other")),
            "bundled": (study, lambda path: load_study(str(path), ["seeds=3"])),
        }
        self.read, self.refused = 0, 0
        self.last: str | None = None

    def table(self, path: Path) -> Any:
        return fp.load_dataset(str(path))

    def check(self, kind: str, data: bytes) -> None:
        """Read one file; what cannot be read is refused in sentences, soon."""
        path = self.folder / "damaged.yaml"
        path.write_bytes(data)
        began, refusal = time.process_time(), None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.kinds[kind][1](path)
            self.read += 1
        except UserError as error:
            refusal = str(error)
            self.refused += 1
        assert time.process_time() - began < SECONDS, data[:500]
        self.last = refusal
        assert refusal is None or a_sentence(refusal[:2_999]), refusal
        assert not (self.folder / EXECUTED).exists(), data


@pytest.fixture
def reader(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Reader(tmp_path)


def check_files(reader: Reader, count: int) -> None:
    kinds = list(reader.kinds)
    for i in range(count):
        kind, rng = kinds[i % len(kinds)], random.Random(f"yaml {i}")
        reader.check(kind, damaged_yaml(reader.kinds[kind][0], rng))
    assert reader.read > count / 50
    assert reader.refused > count / 2


def test_files_are_read_before_they_are_damaged(reader):
    for kind in ("attributes", "model", "study", "chosen", "bundled"):
        reader.check(kind, reader.kinds[kind][0].encode())
        assert reader.last is None


def test_a_damaged_file_is_read_or_refused(reader):
    check_files(reader, FEW)


@pytest.mark.slow
def test_damaged_files_are_read_or_refused(reader):
    check_files(reader, FILES)


@pytest.mark.parametrize("value", SNIPPETS)
@pytest.mark.parametrize("kind", ["table", "model", "study"])
def test_what_others_execute_or_expand_is_text_or_refused(reader, kind, value):
    text = reader.kinds[kind][0]
    first = text.splitlines()[0].partition(": ")[0]
    reader.check(kind, f"{first}: {value}\n{text.partition(chr(10))[2]}".encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    "override",
    [
        "seeds=[" + "[" * 5_000,
        "seeds=!!python/object/apply:os.mkdir ['executed']",
        "seeds=2024-99-99",
        "title=&a [*a]",
        "title=*a",
        "seeds=" + "9" * 5_000,
        "seeds=10**9",
        "seeds=1000000000",
        "audit=1",
        "audit.margin.x=1",
        "=1",
        "seeds",
    ],
)
def test_an_override_that_is_none_is_refused(reader, override):
    with pytest.raises(UserError) as refused:
        load_study("compas", [override])
    assert a_sentence(str(refused.value)[:2_999])
    assert not Path(EXECUTED).exists()


def test_aliases_that_expand_without_end_are_refused(reader):
    path = reader.folder / "x.yaml"
    path.write_text(ALIASES)
    began = time.process_time()
    with pytest.raises(UserError, match="aliases expand"):
        read_yaml(path)
    assert time.process_time() - began < SECONDS


@pytest.mark.parametrize(
    "text", ["[" + "1," * 400_000 + "1]", "k: 1\n" * 150_000, "- a\n" * 200_000, "a: |\n" + " \n" * 400_000]
)
def test_a_file_that_would_take_minutes_is_refused_at_once(reader, text):
    path = reader.folder / "x.yaml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(UserError, match="too many for a description"):
        read_yaml(path)
    assert time.process_time() - began < 5
