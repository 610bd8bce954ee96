"""The dashboard as a visitor, and as somebody who means no good, sees it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from fairpress.auditing.audit import audit
from fairpress.auditing.verdicts.rules import WORST_FIRST
from fairpress.auditing.verdicts.wording import points_up
from fairpress.core.estimate import Estimate
from fairpress.reporting.formatting import SYMBOL, WORD, format_points
from fairpress.studies.execution import progress_file
from fairpress.studies.execution.progress_file import PROGRESS, ProgressFile, read_progress
from fairpress.studies.planning.plan import StudyTask
from study_folders import HOSTILE, make_model, make_study

starlette = pytest.importorskip("starlette", reason="the extra `dashboard` is not installed")
from starlette.testclient import TestClient  # noqa: E402

from fairpress.dashboard.app import create_app  # noqa: E402
from fairpress.dashboard.safe_paths import is_inside  # noqa: E402

HERE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root") / "runs"
    make_study(folder / "made")
    make_model(folder / "models" / "int8")
    (folder / ".store").mkdir()
    (folder / ".store" / "study.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture(scope="module")
def visitor(root):
    return TestClient(create_app(root), base_url=HERE, raise_server_exceptions=False)


def test_the_first_page_lists_studies_and_models_with_verdicts(visitor, root):
    reported = json.loads((root / "made/audit.json").read_text())["Compressed against the baseline"]
    result = {c["verdict"] for c in reported["comparisons"].values()}
    worst = next(v for v in WORST_FIRST if v in result)
    page = visitor.get("/").text
    assert "/study/made" in page
    assert "/model/models/int8" in page
    assert f"{SYMBOL[worst]} {WORD[worst]}" in page
    uppers = [c["bounds"][0]["upper"] for c in reported["comparisons"].values()]
    assert f"<td>{points_up(max(uppers))}</td>" in page
    assert ".store" not in page
    assert 'http-equiv="refresh"' not in page


def test_a_study_shows_what_each_model_loses_and_can_be_filtered(visitor, root):
    reported = json.loads((root / "made/audit.json").read_text())["Compressed against the baseline"]
    page = visitor.get("/study/made").text
    for recipe in ("int8", "int4"):
        (loss,) = (
            x["estimate"]
            for x in reported["comparisons"][recipe]["overall"]["losses"]
            if x["metric"] == "accuracy"
        )
        estimate = Estimate(loss["value"], loss["low"], loss["high"])
        assert format_points(estimate) in page
        upper = reported["comparisons"][recipe]["bounds"][0]["upper"]
        assert f"{points_up(upper)} (" in page
    assert page.count("/network/") == 6
    page = visitor.get("/study/made?method=int4&group=sex+%3D+Female").text
    assert "What sex = Female loses" in page
    assert page.count("/network/") == 2
    assert "int8</th>" not in page
    assert "Nothing matches." in visitor.get("/study/made?method=int7").text


def test_the_chart_has_a_line_for_each_comparison(visitor):
    result = visitor.get("/chart/made?group=sex+%3D+Female")
    assert result.headers["content-type"] == "image/svg+xml"
    assert "Forest plot: what sex = Female loses" in result.text
    assert "int8 against fp32" in result.text
    assert "int4 against fp32" not in visitor.get("/chart/made?method=int8").text


def test_a_network_opens_the_audit_of_its_own_rows(visitor, tmp_path):
    table = make_study(tmp_path / "same")
    rows = table.filter([s == 1 for s in table["seed"].to_pylist()]).drop_columns(["int8"])
    own = audit(
        rows.select([c for c in rows.column_names if not c.endswith(".score")]),
        baseline="fp32",
        compressed=["int4"],
        by=["sex"],
        positive="yes",
    )
    (loss,) = (x.estimate for x in own.comparisons[0].overall.losses if x.metric == "accuracy")
    page = visitor.get("/network/5/made").text
    assert "int4, seed 1, fold 0" in page
    assert format_points(loss) in page
    assert visitor.get("/network/6/made").status_code == 404


def test_two_models_are_compared_on_all_seeds(visitor):
    page = visitor.get("/compare/made?part=&first=int8&second=int4").text
    assert "int4 against int8" in page
    assert "2 training seeds" in page
    for query, sentence in (
        ("first=int8&second=int8", "choose two different models"),
        ("first=int8&second=int9", "this study has no model &#39;int9&#39;"),
        ("first=int8", "this study has no model &#39;&#39;"),
    ):
        result = visitor.get(f"/compare/made?part=&{query}")
        assert (result.status_code, sentence in result.text) == (422, True)


def test_files_of_studies_and_models_are_given_and_no_others(visitor, root):
    for path in (
        "made/audit.json",
        "made/predictions.parquet",
        "models/int8/model.onnx",
        "made/figures/a.svg",
    ):
        result = visitor.get(f"/download/{path}")
        assert result.content == (root / path).read_bytes()
        assert result.headers["content-disposition"].startswith("attachment")
    shown = visitor.get("/file/made/report.html")
    assert shown.headers["content-security-policy"].startswith("sandbox")
    assert shown.headers["x-content-type-options"] == "nosniff"
    # What a browser might run is never shown under this address.
    assert "attachment" in visitor.get("/file/made/audit.json").headers["content-disposition"]
    assert visitor.get("/file/notes.txt").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "../secret/card.json",
        "made/../../secret/card.json",
        "%2e%2e/secret/card.json",
        "..%2fsecret/card.json",
        "%2Fetc/passwd",
        "/etc/passwd",
        "out/card.json",
        "made/link.json",
        ".store/study.json",
        "made/%00",
        "..\\secret\\card.json",
        "made/" + 300 * "a",
    ],
)
def test_nothing_outside_the_folder_is_read(path, root, visitor):
    secret = root.parent / "secret"
    secret.mkdir(exist_ok=True)
    (secret / "card.json").write_text('{"recipe": "hidden"}')
    (secret / "model.onnx").write_text("hidden")
    for link, target in ((root / "out", secret), (root / "made" / "link.json", secret / "card.json")):
        if not link.is_symlink():
            link.symlink_to(target)
    for page in ("file", "download", "study", "model", "chart", "compare", "network/0"):
        result = visitor.get(f"/{page}/{path}")
        assert result.status_code in (404, 422), page
        assert "hidden" not in result.text
        assert "root:" not in result.text
    assert "hidden" not in visitor.get("/").text
    assert is_inside(root, "made/audit.json") == (root / "made/audit.json").resolve()


@pytest.mark.parametrize(
    "name", ["card.json", "study.json", "audit.json", "models.json", "progress.json", "predictions.parquet"]
)
def test_a_link_out_of_a_folder_is_not_read_on_any_page(name, tmp_path):
    root = tmp_path / "root"
    make_study(root / "s")
    make_model(root / "m")
    secret = json.dumps(
        {"name": "SECRET123", "auths": "SECRET123", "recipe": "SECRET123", "command": "SECRET123"}
    )
    (tmp_path / "secret.json").write_text(secret)
    link = root / ("m" if name == "card.json" else "s") / name
    link.unlink(missing_ok=True)
    link.symlink_to(tmp_path / "secret.json")
    visitor = TestClient(create_app(root), base_url=HERE, raise_server_exceptions=False)
    for page in (
        "",
        "study/s",
        "model/m",
        "chart/s",
        "network/1/s",
        "compare/s?part=&first=fp32&second=int8",
    ):
        assert "SECRET123" not in visitor.get(f"/{page}").text, page


def test_only_this_machines_names_are_answered_and_nothing_is_changed(visitor):
    for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80"):
        assert visitor.get("/", headers={"host": host}).status_code == 400
    assert visitor.get("/", headers={"host": "localhost:8765"}).status_code == 200
    for method in ("post", "put", "delete", "patch"):
        assert getattr(visitor, method)("/study/made").status_code == 405
    assert "default-src 'none'" in visitor.get("/").headers["content-security-policy"]
    assert "script" not in visitor.get("/study/made").text


def test_hostile_names_are_escaped_and_damaged_files_are_a_sentence(tmp_path):
    make_study(tmp_path / "bad", name=HOSTILE, group=HOSTILE)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "study.json").write_text('{"name": ["x"]}')
    (tmp_path / "torn" / "audit.json").write_text('{"a": 3}')
    (tmp_path / "torn" / "models.json").write_text('[{"part": 1}]')
    visitor = TestClient(create_app(tmp_path), base_url=HERE, raise_server_exceptions=False)
    group = f"sex = {HOSTILE}"
    pages = [
        visitor.get("/"),
        visitor.get("/study/bad", params={"group": group, "method": '"><script>'}),
        visitor.get("/study/bad", params={"group": group}),
        visitor.get("/chart/bad", params={"group": group}),
        visitor.get("/network/1/bad"),
        visitor.get("/compare/bad", params={"part": "", "first": "fp32", "second": HOSTILE}),
    ]
    for page in pages:
        assert "<script" not in page.text
    assert "&lt;script&gt;" in pages[2].text
    damaged = visitor.get("/study/torn")
    assert damaged.status_code == 422
    assert "are damaged, or of another version" in damaged.text


def test_progress_is_seen_while_a_study_runs_after_a_kill_and_not_after_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(progress_file, "WRITE_INTERVAL", 0.2)
    tasks = [StudyTask("train", f"r{i}", (), {}, (), f"k{i}") for i in range(4)]
    file = ProgressFile(tmp_path / "live", "live", "fairpress study run live")
    file.plan(tasks)
    file.event("started", tasks[0])
    file.event("finished", tasks[0])
    file.event("failed", tasks[1])
    file.event("started", tasks[2])
    assert read_progress(tmp_path / "live").done == 0  # at most once in so many seconds; nothing is left out
    while (now := read_progress(tmp_path / "live")).done < 2:
        time.sleep(0.02)
    assert (now.total, now.done, now.failed, now.running) == (4, 2, 1, ("train r2",))
    visitor = TestClient(create_app(tmp_path), base_url=HERE)
    for path in ("/", "/study/live"):
        page = visitor.get(path).text
        assert '<progress max="4" value="2"' in page
        assert "2 of 4 tasks, 1 failed, running" in page
        assert 'http-equiv="refresh"' in page
    # Its process is killed.
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    path = tmp_path / "live" / PROGRESS
    path.write_text(json.dumps(json.loads(path.read_text()) | {"process": int(gone.stdout)}))
    page = visitor.get("/").text
    assert "interrupted: the same command resumes it" in page
    assert 'http-equiv="refresh"' not in page
    file.close()
    assert not (tmp_path / "live").exists()
    assert visitor.get("/study/live").status_code == 404


@pytest.fixture
def served(root):
    uvicorn = pytest.importorskip("uvicorn")
    server = uvicorn.Server(uvicorn.Config(create_app(root), log_level="error"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"{HERE}:{listener.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield address
        server.should_exit = True
        thread.join(10)


def test_chromium_shows_a_study_with_its_chart_and_without_an_error(served, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on this machine")
    picture = tmp_path / "page.png"
    ran = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=360,1600", "--enable-logging=stderr",
         f"--screenshot={picture}", f"--user-data-dir={tmp_path / 'profile'}", f"{served}/study/made"],
        capture_output=True, text=True, timeout=120, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert picture.stat().st_size > 10_000
    errors = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    assert not errors
