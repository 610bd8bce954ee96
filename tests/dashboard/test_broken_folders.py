"""A broken folder takes nothing down: the others are listed, it is named with the reason, and nothing is waited for."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time

import pytest

from study_folders import make_model, make_study

starlette = pytest.importorskip("starlette", reason="the extra `dashboard` is not installed")
from starlette.testclient import TestClient  # noqa: E402

from fairpress.dashboard import (  # noqa: E402
    app,
    discovery,
    json_files,
    on_demand_audit,
)
from fairpress.dashboard.app import create_app  # noqa: E402
from fairpress.dashboard.cache import ByteCache  # noqa: E402
from fairpress.dashboard.json_files import Unreadable, open_regular, read_json  # noqa: E402

HERE = "http://127.0.0.1"
PROGRESS = {
    "name": "n", "command": "c", "total": 3, "done": 1, "failed": 0, "running": [], "process": 1, "host": "h",
    "started": 1.0, "updated": 1.0,
}  # fmt: skip
DEEP = "[" * 100_000
special = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes among this system's files")


def text(content):
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def progress(**changes):
    return text(json.dumps(PROGRESS | changes).replace('"1e999"', "1e999"))


def sparse(size):
    def write(path):
        with path.open("wb") as file:
            file.truncate(size)

    return write


def pipe(path):
    os.mkfifo(path)


def socket_file(path):
    held = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(path.parent)  # the whole path would be too long for a socket
    try:
        held.bind(path.name)
    finally:
        os.chdir(here)
        held.close()


def link(target):
    return lambda path: path.symlink_to(target)


# What is done to which file → what the index says of it; None: it says nothing, and shows the study.
BROKEN = {
    "study.json a pipe": ("study.json", pipe, "study.json is a pipe, a socket or a device"),
    "study.json a socket": ("study.json", socket_file, "study.json is a pipe, a socket or a device"),
    "study.json endless": ("study.json", link("/dev/zero"), "study.json is a symbolic link"),
    "study.json a circle": ("study.json", link("study.json"), "study.json is a symbolic link"),
    "study.json deep": ("study.json", text(DEEP), "study.json is nested too deeply"),
    "study.json no text": ("study.json", text(b'{"name": "\xff"}'), "study.json is not UTF-8 text"),
    "study.json half": ("study.json", text('{"name": "a'), "study.json is damaged"),
    "study.json a list": ("study.json", text("[1]"), "study.json is damaged"),
    "study.json name": ("study.json", text('{"name": ["x"]}'), "the name in study.json is not text"),
    "study.json huge": ("study.json", sparse(10**11), "study.json has 100,000 MB; at most 16 MB are shown"),
    "study.json surrogate": ("study.json", text('{"name": "\\ud800"}'), None),
    "process infinite": ("progress.json", progress(process="1e999"), "progress.json is damaged"),
    "process large": ("progress.json", progress(process=10**30), "progress.json is damaged"),
    "process a group": ("progress.json", progress(process=-1), "progress.json is damaged"),
    "progress no number": ("progress.json", progress(updated=float("nan")), "progress.json is damaged"),
    "progress half": ("progress.json", text(json.dumps(PROGRESS)[:40]), "progress.json is damaged"),
    "progress deep": ("progress.json", text(DEEP), "progress.json is nested too deeply"),
    "progress a pipe": ("progress.json", pipe, "progress.json is a pipe, a socket or a device"),
    "audit.json a pipe": ("audit.json", pipe, "audit.json is a pipe, a socket or a device"),
    "audit.json huge": ("audit.json", sparse(200_000_000), "audit.json has 200 MB; at most 64 MB are shown"),
    "audit.json values": (
        "audit.json",
        text("[" + "0," * 6_000_001 + "0]"),
        "has more than 6,000,000 values",
    ),
    "audit.json a list": ("audit.json", text("[[]]"), "audit.json is damaged"),
    "audit.json number": ("audit.json", text('{"a": {"comparisons": 3}}'), "audit.json is damaged"),
    "models.json a pipe": ("models.json", pipe, "models.json is a pipe, a socket or a device"),
    "models.json a number": ("models.json", text("7"), "models.json is damaged"),
}
MODELS = {
    "card a pipe": ("card.json", pipe, "card.json is a pipe, a socket or a device"),
    "card deep": ("card.json", text(DEEP), "card.json is nested too deeply"),
    "card recipe": ("card.json", text('{"recipe": {"a": 1}}'), "the recipe in card.json is not text"),
    "onnx a pipe": ("model.onnx", pipe, "model.onnx is a pipe, a socket or a device"),
    "onnx elsewhere": ("model.onnx", link("/dev/zero"), "model.onnx is a symbolic link"),
}


@pytest.fixture(scope="module")
def visitor(tmp_path_factory):
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes among this system's files")
    root = tmp_path_factory.mktemp("broken")
    make_study(root / "good")
    make_model(root / "models" / "good")
    for name, (file, damage, _) in BROKEN.items():
        folder = root / name
        shutil.copytree(root / "good", folder)
        (folder / file).unlink(missing_ok=True)
        damage(folder / file)
    for name, (file, damage, _) in MODELS.items():
        folder = root / "models" / name
        shutil.copytree(root / "models" / "good", folder)
        (folder / file).unlink()
        damage(folder / file)
    return TestClient(create_app(root), base_url=HERE, raise_server_exceptions=False)


def row(page, address):
    (result,) = (r for r in page.split("<tr>") if f'href="{address}"' in r)
    return result.split("</tr>")[0]


def test_the_index_names_every_broken_folder_and_shows_the_others(visitor):
    begun = time.monotonic()
    answer = visitor.get("/")
    assert time.monotonic() - begun < 20
    assert answer.status_code == 200
    assert "finished" in row(answer.text, "/study/good")
    assert "1.2 KB" in row(answer.text, "/model/models/good")
    assert answer.text.count("cannot be read:") == len(MODELS) + sum(1 for b in BROKEN.values() if b[2])
    for name, (_, _, cause) in BROKEN.items():
        result = row(answer.text, f"/study/{name}".replace(" ", "%20"))
        assert ("cannot be read:" in result) == (cause is not None), name
        assert (cause or "finished") in result
    for name, (_, _, cause) in MODELS.items():
        assert cause in row(answer.text, f"/model/models/{name}".replace(" ", "%20"))


@pytest.mark.parametrize("name", BROKEN)
def test_the_pages_of_a_broken_study_answer_with_a_sentence(name, visitor):
    file, _, cause = BROKEN[name]
    for page in ("study",) if file == "progress.json" else ("study", "chart", "network/1"):
        answer = visitor.get(f"/{page}/{name}")
        assert answer.status_code == (200 if file == "progress.json" or cause is None else 422), page
        if answer.status_code == 422 and page == "study":
            assert cause in answer.text or "files are damaged" in answer.text
            # What is whole can be had all the same.
            assert f"/download/{name}/predictions.parquet".replace(" ", "%20") in answer.text
    if file == "progress.json":
        assert cause in visitor.get(f"/study/{name}").text


@pytest.mark.parametrize("name", MODELS)
def test_the_page_of_a_broken_model_is_a_sentence(name, visitor):
    answer = visitor.get(f"/model/models/{name}")
    assert (answer.status_code, MODELS[name][2] in answer.text) == (422, True) or name == "card recipe"


@special
@pytest.mark.parametrize(
    "file", ["report.html", "audit.json", "predictions.parquet", "figures/a.svg", "figures"]
)
def test_what_is_no_file_is_neither_sent_nor_waited_for(file, tmp_path):
    make_study(tmp_path / "s")
    location = tmp_path / "s" / file
    if location.is_dir():
        shutil.rmtree(location)
    else:
        location.unlink()
    pipe(location)
    visitor = TestClient(create_app(tmp_path), base_url=HERE, raise_server_exceptions=False)
    for page in ("file", "download"):
        answer = visitor.get(f"/{page}/s/{file}")
        assert (answer.status_code, "is a pipe" in answer.text) == (422, True)
    if file != "audit.json":
        assert f"/download/s/{file}" not in visitor.get("/study/s").text
    if file == "predictions.parquet":
        assert "is a pipe" in visitor.get("/compare/s?part=&first=fp32&second=int8").text


@special
def test_links_to_hidden_files_and_in_circles_are_not_followed(tmp_path):
    make_study(tmp_path / "s")
    (tmp_path / ".store").mkdir()
    (tmp_path / ".store" / "study.json").write_text('{"name": "hidden"}')
    (tmp_path / "s" / "seen.json").symlink_to(tmp_path / ".store" / "study.json")
    (tmp_path / "way").symlink_to(tmp_path / ".store")
    (tmp_path / "s" / "loop").symlink_to(tmp_path / "s" / "loop")
    (tmp_path / "s" / "up").symlink_to(tmp_path / "s")
    (tmp_path / ".store" / "secret.svg").write_text("<svg/>")
    shutil.rmtree(tmp_path / "s" / "figures")
    (tmp_path / "s" / "figures").symlink_to(tmp_path / ".store")
    visitor = TestClient(create_app(tmp_path), base_url=HERE, raise_server_exceptions=False)
    for path in (
        "download/s/seen.json",
        "study/way",
        "download/way/study.json",
        "download/s/loop",
        "study/s/loop",
    ):
        answer = visitor.get(f"/{path}")
        assert (answer.status_code, "hidden" in answer.text) == (404, False), path
    assert visitor.get("/").text.count("/study/") == 1
    assert "secret" not in visitor.get("/study/s").text


def test_a_file_replaced_by_a_link_after_it_was_looked_at_is_not_read(tmp_path):
    folder = tmp_path.resolve() / "s"
    folder.mkdir()
    (folder / "a.json").write_text("1")
    assert read_json(folder / "a.json") == 1
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises((Unreadable, FileNotFoundError)):
        open_regular(folder / "a.json")


def test_what_may_not_be_read_is_named(tmp_path, monkeypatch):
    make_study(tmp_path / "s")
    make_study(tmp_path / "t")
    real = os.open

    def refused(path, *args, **kwargs):
        if path == "study.json" and os.readlink(f"/proc/self/fd/{kwargs['dir_fd']}").endswith("/t"):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *args, **kwargs)

    if not os.path.isdir("/proc/self/fd") or os.open not in os.supports_dir_fd:
        pytest.skip("needs /proc")
    monkeypatch.setattr(json_files.os, "open", refused)
    monkeypatch.setattr(json_files.os, "supports_dir_fd", {refused})
    page = TestClient(create_app(tmp_path), base_url=HERE).get("/").text
    assert "study.json cannot be opened (Permission denied)" in row(page, "/study/t")
    assert "cannot be read" not in row(page, "/study/s")


def test_folders_that_vanish_or_may_not_be_listed_leave_the_others(tmp_path, monkeypatch):
    make_study(tmp_path / "s")
    for name in ("gone", "closed"):
        (tmp_path / name).mkdir()
    real = os.scandir

    def scan(path):
        if str(path).endswith("gone"):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scan)
    page = TestClient(create_app(tmp_path), base_url=HERE).get("/").text
    assert "/study/s" in page
    assert "closed cannot be listed (Permission denied)." in page
    assert "gone" not in page


def test_a_root_that_is_removed_is_a_sentence_until_it_is_there_again(tmp_path):
    root = tmp_path / "runs"
    make_study(root / "s")
    visitor = TestClient(create_app(root), base_url=HERE, raise_server_exceptions=False)
    assert "/study/s" in visitor.get("/").text
    root.rename(tmp_path / "moved")
    answer = visitor.get("/")
    assert (answer.status_code, "cannot be listed (No such file" in answer.text) == (422, True)
    assert visitor.get("/study/s").status_code == 404
    (tmp_path / "moved").rename(root)
    assert "/study/s" in visitor.get("/").text


@special
def test_a_folder_with_a_name_that_is_no_text_is_named(tmp_path):
    make_study(tmp_path / "s")
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    (tmp_path / os.fsdecode(b"\xff") / "study.json").write_text("{}")
    answer = TestClient(create_app(tmp_path), base_url=HERE).get("/")
    assert answer.status_code == 200
    assert "the folder&#39;s name is not UTF-8 text" in answer.text


def test_only_so_many_folders_are_looked_through(tmp_path, monkeypatch):
    monkeypatch.setattr(discovery, "MAX_FOLDERS", 5)
    for i in range(9):
        (tmp_path / f"f{i}").mkdir()
    assert "Only the first 5 folders" in TestClient(create_app(tmp_path), base_url=HERE).get("/").text


def test_a_large_download_is_sent_in_pieces(tmp_path, monkeypatch):
    make_study(tmp_path / "s")
    sparse(50_000_000)(tmp_path / "s" / "audit.json")
    read = []

    class Counted:
        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def read(self, size):
            read.append(size)
            return self.file.read(size)

    monkeypatch.setattr("fairpress.dashboard.app.open_regular", lambda path: Counted(open_regular(path)))
    visitor = TestClient(create_app(tmp_path), base_url=HERE)
    answer = visitor.get("/download/s/audit.json")
    assert len(answer.content) == int(answer.headers["content-length"]) == 50_000_000
    assert max(read) <= 256 * 1024


def test_what_is_kept_weighs_no_more_than_its_limit():
    retained = ByteCache(10)
    worked_out = []

    def get(key, weight):
        def compute():
            worked_out.append(key)
            return key, weight

        return retained.get(key, compute)

    assert [get("a", 4), get("b", 4), get("a", 4), get("c", 4), get("large", 11)] == [
        "a",
        "b",
        "a",
        "c",
        "large",
    ]
    assert retained.weight == 8
    get("a", 4)  # b, used less recently, was dropped for c
    assert worked_out == ["a", "b", "c", "large"]
    get("b", 4)
    get("large", 11)
    assert worked_out == ["a", "b", "c", "large", "b", "large"]


def test_predictions_that_are_damaged_or_too_many_are_a_sentence(tmp_path, monkeypatch):
    make_study(tmp_path / "many")
    make_study(tmp_path / "torn")
    (tmp_path / "torn" / "predictions.parquet").write_bytes(b"PAR1" * 100)
    visitor = TestClient(create_app(tmp_path), base_url=HERE, raise_server_exceptions=False)
    monkeypatch.setattr(on_demand_audit, "MAX_CELLS", 4_799)  # 800 rows of 6 columns
    for study, sentence in (("many", "have 800 rows of"), ("torn", "files are damaged")):
        for page in (f"network/1/{study}", f"compare/{study}?part=&first=fp32&second=int8"):
            answer = visitor.get(f"/{page}")
            assert (answer.status_code, sentence in answer.text) == (422, True), page


def test_a_table_without_pages_shows_its_first_rows_and_says_how_many_more_there_are(tmp_path, monkeypatch):
    make_study(tmp_path / "s")
    monkeypatch.setattr(app, "MAX_ROWS", 1)
    page = TestClient(create_app(tmp_path), base_url=HERE).get("/study/s").text
    assert "1 more are not shown; choose a dataset, a model or a method." in page
