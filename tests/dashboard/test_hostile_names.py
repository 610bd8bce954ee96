"""Names that mean harm, on every page: shown as text, in a browser too, and also where nothing but escaping holds them."""

from __future__ import annotations

import contextlib
import functools
import html.parser
import re
from urllib.parse import quote, urlencode

import pytest

import hostile

httpx = pytest.importorskip("httpx")
pytest.importorskip("starlette", reason="the extra `dashboard` is not installed")
from starlette.responses import HTMLResponse  # noqa: E402

from fairpress.core.visible_text import visible  # noqa: E402
from fairpress.dashboard.app import create_app  # noqa: E402
from fairpress.dashboard.file_response import disposition  # noqa: E402
from fairpress.dashboard.visible_text import shown  # noqa: E402
from visiting import BROWSER, browse, serving  # noqa: E402

FOLDER, MODEL = quote(hostile.FOLDER), f"models/{quote(hostile.FOLDER)}"
GROUP = f"{hostile.ATTRIBUTE} = {hostile.GROUP}"
FIRST, SECOND = hostile.RECIPES[1:]
# Page → its address, and names that it must show.
PAGES = {
    "index": ("/", (hostile.FOLDER, hostile.IMAGE, hostile.CLOSING)),
    "study": (f"/study/{FOLDER}", (hostile.NAME, hostile.PART, FIRST, SECOND, hostile.FILE, hostile.SCRIPT)),
    "filtered": (
        f"/study/{FOLDER}?{urlencode({'group': GROUP, 'method': FIRST, 'dataset': hostile.DATASET})}",
        (GROUP, FIRST),
    ),
    "network": (f"/network/1/{FOLDER}", (FIRST, hostile.PART, hostile.GROUP)),
    "compare": (
        f"/compare/{FOLDER}?{urlencode({'part': hostile.PART, 'first': FIRST, 'second': SECOND})}",
        (FIRST, SECOND, hostile.PART, hostile.GROUP),
    ),
    "model": (f"/model/{MODEL}", (hostile.IMAGE, hostile.CLOSING, hostile.SCRIPT, hostile.FILE)),
    "refused": (
        f"/compare/{FOLDER}?{urlencode({'part': hostile.PART, 'first': hostile.IMAGE})}",
        (hostile.IMAGE,),
    ),
}
get = functools.partial(httpx.get, timeout=60)
REPORT = f"/file/{FOLDER}/report.html"


class Visit(html.parser.HTMLParser):
    """What a browser would make of a page: its text, and whatever might do something."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.text, self.active, self.addresses = "", [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag in ("script", "iframe", "object", "embed", "base") or any(
            k.startswith("on") for k, _ in attrs
        ):
            self.active.append((tag, attrs))
        self.addresses += [v for k, v in attrs if k in ("src", "href", "action", "formaction", "xlink:href")]

    def handle_data(self, data):
        self.text += data


def plain(text):
    """Return text without the white space that a page is free to change, and with invisible characters named."""
    return re.sub(r"\s|⟨U\+[0-9A-F]+⟩", "", visible(text))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    hostile.make_hostile(folder)
    return folder


@contextlib.contextmanager
def watched(root, *, policy=True):
    """Serve the pages; yield their address, and what scripts asked for. Without `policy`, the browser forbids nothing."""
    app, hits = create_app(root), []

    async def watch(scope, receive, send):
        if scope["path"].endswith("hit"):
            hits.append(scope["path"])

        async def pass_on(message):
            if not policy and message["type"] == "http.response.start":
                message["headers"] = [
                    (k, v) for k, v in message["headers"] if k != b"content-security-policy"
                ]
            await send(message)

        if scope["path"] == "/frames":
            frames = "".join(f'<iframe src="{html.escape(a)}"></iframe>' for a, _ in PAGES.values())
            await HTMLResponse(frames)(scope, receive, send)
        else:
            await app(scope, receive, pass_on)

    with serving(watch) as port:
        yield f"http://127.0.0.1:{port}", hits


@pytest.mark.parametrize("page", PAGES)
def test_names_are_text_on_every_page(page, root):
    address, names = PAGES[page]
    with watched(root) as (base, _):
        answer = get(base + address)
    assert answer.status_code == (422 if page == "refused" else 200)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    result = Visit(answer.text)
    assert result.active == []
    for where in result.addresses:
        assert re.match(r"/(?!/)|\?|#|data:image/", where), where
    for name in names:
        assert plain(name)[:200] in plain(result.text) or plain(repr(name))[1:200] in plain(result.text), name
    if page not in ("network", "compare"):  # those are reports
        assert visible(result.text) == result.text


def test_a_form_sends_back_what_finds_the_group_again(root):
    with watched(root) as (base, _):
        page = get(base + f"/study/{FOLDER}").text
        value = html.unescape(
            re.search(r'<select name="group">.*?<option value="([^"]+)"', page, re.DOTALL)[1]
        )
        assert value == GROUP
        browsers = value.replace("\r\n", "\n").replace("\n", "\r\n")  # how a form sends it
        for sent in (value, browsers):
            result = get(base + f"/study/{FOLDER}", params={"group": sent})
            assert "Nothing matches." not in result.text
            assert result.text.count("</th><td") >= 2


def test_a_download_has_a_name_that_harms_nothing(root):
    with watched(root) as (base, _):
        answer = get(f"{base}/download/{FOLDER}/figures/{quote(hostile.FILE)}")
    assert answer.status_code == 200
    header = answer.headers["content-disposition"]
    assert re.fullmatch(r"attachment; filename=\"[ -!#-~]+\"; filename\*=UTF-8''[\w.~%-]+", header, re.ASCII)
    assert "%E2%80%AE" not in header  # turned round, the name would have another ending
    assert answer.headers["content-security-policy"].startswith("sandbox")
    assert disposition("inline", 'Ergebnis für\n"A".html') == (
        "inline; filename=\"Ergebnis_f_r__A_.html\"; filename*=UTF-8''Ergebnis_f%C3%BCr__A_.html"
    )


def test_a_page_shows_characters_that_cannot_be_seen_and_no_endless_name():
    assert shown("a\u202eb") == "a⟨U+202E⟩b"
    assert shown("👩\u200d🔬 نمی\u200cخواهم") == "👩\u200d🔬 نمی\u200cخواهم"
    assert len(shown("x" * 10**6)) == 1001


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_a_browser_runs_nothing_even_where_it_would_be_free_to(root, tmp_path):
    wait = "--virtual-time-budget=4000"
    with watched(root, policy=False) as (base, hits):
        browse(base + "/frames", tmp_path, "--dump-dom", wait)
        assert hits == []
        # The trap works: a report that was tampered with is shown as it is, and only the policy holds it.
        browse(base + REPORT, tmp_path, "--dump-dom", wait)
        assert hits
    with watched(root) as (base, hits):
        assert "<h1>Report</h1>" in browse(base + REPORT, tmp_path, "--dump-dom", wait).stdout
        address, names = PAGES["compare"]
        page = browse(base + address, tmp_path, "--dump-dom", wait)
        assert hits == []
    assert plain(names[0])[:200] in plain(Visit(page.stdout).text)
    assert "CONSOLE" not in page.stderr


def test_two_long_names_with_one_beginning_are_two_lines_of_a_chart(root):
    with watched(root) as (base, _):
        drawn = get(f"{base}/chart/{FOLDER}").text
    assert re.search(r"… \(2\)<", drawn)
