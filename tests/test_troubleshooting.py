"""Every message that docs/troubleshooting.md quotes is the one that the command next to it prints."""

from __future__ import annotations

import shlex
from importlib import util
from pathlib import Path

import pytest
from pyarrow import csv

from fairpress import cli, demo_data
from pages import blocks

PAGE = "docs/troubleshooting.md"


def quoted() -> list[tuple[str, str]]:
    """Return the commands of the page, each with the message below it."""
    result: list[tuple[str, str]] = []
    for block in blocks(PAGE, "text"):
        for line in block.splitlines():
            if line.startswith("$ fairpress "):
                result.append((line.removeprefix("$ fairpress "), ""))
            elif line.startswith("fairpress: ") and result:
                result[-1] = (result[-1][0], line)
    return result


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The reader's folder, with each of the inputs that the page is about."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAIRPRESS_DATA", "data")
    monkeypatch.setenv("FAIRPRESS_CACHE", "cache")
    csv.write_csv(demo_data.table(rows=600), "p.csv")
    header, *rows = Path("p.csv").read_text(encoding="utf-8").splitlines()
    names = header.replace('"', "").split(",")

    def changed(file: str, column: str, values: list[str]) -> None:
        cells = [row.split(",") for row in rows]
        for row, value in zip(cells, values, strict=False):
            row[names.index(column)] = value
        Path(file).write_text("\n".join([",".join(names), *map(",".join, cells)]) + "\n", encoding="utf-8")

    changed("missing.csv", "label", [""] * 3)
    changed("capitals.csv", "int8", ["YES"] * 3)
    changed("logits.csv", "fp32", ["1.8" if i % 2 else "-1.2" for i in range(len(rows))])
    logits = Path("logits.csv").read_text(encoding="utf-8")
    Path("logits.csv").write_text(logits.replace(",fp32,", ",fp32.score,", 1), encoding="utf-8")
    Path("latin.csv").write_bytes("label;sex;fp32;int8\nyes;Frau Müller;yes;yes\n".encode("latin-1"))
    Path("book.xlsx").write_bytes(b"PK\x03\x04" + bytes(100))
    Path("model.pt").write_bytes(b"\x80\x02")
    Path("README.md").write_text("# Mine\n", encoding="utf-8")
    return tmp_path


def test_the_page_quotes_messages():
    assert len(quoted()) >= 15
    assert all(message for _, message in quoted())


@pytest.mark.parametrize(("command", "message"), quoted(), ids=[c for c, _ in quoted()])
def test_a_quoted_message_is_what_the_command_prints(command, message, folder, monkeypatch, capsys):
    if "optional part" in message:
        find = util.find_spec
        monkeypatch.setattr(
            util, "find_spec", lambda name, package=None: None if name == "torch" else find(name, package)
        )
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    with pytest.raises(SystemExit) as stop:
        cli.main(shlex.split(command))
    assert stop.value.code == 2
    assert " ".join(message.split()) == " ".join(capsys.readouterr().err.split())
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
