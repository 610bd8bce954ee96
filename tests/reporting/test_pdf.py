"""A report is printed by the browser of the machine; without one, a sentence tells what to install before any work."""

from __future__ import annotations

import os
import re
import stat
import time

import pytest

from fairpress import demo_data
from fairpress.auditing.audit import audit
from fairpress.cli import main
from fairpress.core.errors import UserError
from fairpress.core.ownership import is_fairpress_file, sealed_pdf
from fairpress.reporting import pdf
from fairpress.reporting.audit_report import AuditReport
from made_study import made_study
from visiting import BROWSER

SMALL = b"%PDF-1.4\n%%EOF\n"


@pytest.fixture(scope="module")
def report():
    return AuditReport.of(audit(demo_data.table(rows=2000), by=["sex"], baseline="fp32", compressed=["int8"]))


def browser_that(folder, script):
    """Put a program called chromium, which runs a shell script with the target in $target, alone on PATH."""
    program = folder / "chromium"
    program.write_text(
        '#!/bin/sh\nfor a in "$@"; do case "$a" in --print-to-pdf=*) target="${a#*=}";; esac; done\n' + script
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


@pytest.fixture
def path_of(monkeypatch, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/bin")
    return folder


@pytest.fixture
def no_browser(monkeypatch):
    monkeypatch.setattr(pdf, "BROWSERS", ())


def test_without_a_browser_a_sentence_comes_before_any_work(no_browser, tmp_path, capsys):
    table = tmp_path / "t.csv"
    demo_data.table(rows=200).to_pandas().to_csv(table, index=False)
    html = tmp_path / "a.html"
    command = [
        "audit",
        str(table),
        "--baseline",
        "fp32",
        "--compressed",
        "int8",
        "--by",
        "sex",
        "--html",
        str(html),
    ]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--pdf", str(tmp_path / "a.pdf")])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert "install one (on Debian and Ubuntu: apt install chromium)" in message
    assert "--html" in message
    assert not html.exists()


def test_the_report_of_a_study_needs_a_browser_too(no_browser, tmp_path, capsys):
    made_study(tmp_path / "s")
    before = {p: p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file()}
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path / "s"), "--pdf", str(tmp_path / "s.pdf")])
    assert ended.value.code == 2
    assert "a PDF is printed by Chromium, Chrome or Edge" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in (tmp_path / "s").rglob("*") if p.is_file()} == before


def test_a_pdf_is_replaced_by_the_next_and_an_edited_one_is_not(report, path_of, tmp_path):
    browser_that(path_of, "printf '%%PDF-1.4\\n%%%%EOF\\n' > \"$target\"\n")
    target = tmp_path / "a.pdf"
    report.to_pdf(target)
    assert target.read_bytes().startswith(SMALL)
    assert is_fairpress_file(target)
    report.to_pdf(target)
    target.write_bytes(target.read_bytes() + b"mine")
    with pytest.raises(UserError, match="was not written by fairpress, or was edited since"):
        report.to_pdf(target)
    report.to_pdf(target, force=True)
    assert is_fairpress_file(target)


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (
            "exit 3\n",
            "chromium did not print the report: it ended with 3 and without a PDF. Write the report with --html",
        ),
        ("exec sleep 60\n", "chromium did not print the report: it took more than 1 seconds."),
    ],
)
def test_a_browser_that_fails_leaves_no_file(report, path_of, tmp_path, monkeypatch, script, sentence):
    browser_that(path_of, script)
    monkeypatch.setattr(pdf, "SECONDS", 1)
    with pytest.raises(UserError, match=re.escape(sentence)):
        report.to_pdf(tmp_path / "a.pdf")
    assert not (tmp_path / "a.pdf").exists()


def test_another_pdf_is_not_taken_for_ours(tmp_path):
    target = tmp_path / "a.pdf"
    for data in (SMALL, b"", sealed_pdf(SMALL)[:-2], b"x" + sealed_pdf(SMALL)):
        target.write_bytes(data)
        assert not is_fairpress_file(target)
    target.write_bytes(sealed_pdf(SMALL))
    assert is_fairpress_file(target)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_chromium_prints_pages_of_a4(report, tmp_path):
    target = tmp_path / "a.pdf"
    report.to_pdf(target, title="Printed")
    data = target.read_bytes()
    assert data.startswith(b"%PDF-")
    pages = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", data)
    assert 1 < len(pages) < 15
    # A4 in points, to the pixel of a browser
    assert all(abs(float(w) - 595.3) < 1 and abs(float(h) - 841.9) < 1 for w, h in pages)


def test_a_browser_that_is_not_waited_for_ends_with_all_it_started(path_of, tmp_path, monkeypatch):
    late = tmp_path / "late"
    program = browser_that(path_of, f"(sleep 2; touch {late}) &\nwait\n")
    monkeypatch.setattr(pdf, "SECONDS", 1)
    with pytest.raises(UserError, match="took more than 1 seconds"):
        pdf.printed("<p>", str(program))
    time.sleep(2.5)
    assert not late.exists()
