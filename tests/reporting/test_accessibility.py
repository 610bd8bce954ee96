"""axe-core finds no serious fault in the report of an audit, in that of a study and in the dashboard, in light and dark.

It runs where Node finds axe-core (``npm install axe-core`` in this folder or one above, or NODE_PATH).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from fairpress import demo_data
from fairpress.auditing.audit import audit
from fairpress.reporting.html import ModelFacts, Section, overview_charts, render
from fairpress.reporting.pareto_chart import pareto, points_of
from study_folders import make_study
from visiting import BROWSER, browse

pytestmark = pytest.mark.slow
SERIOUS = ("serious", "critical")
RUN = """<script>addEventListener("load", async () => {
  document.querySelectorAll("details").forEach(d => d.open = true);
  const seen = await axe.run(document);
  const brief = faults => faults.map(f => ({id: f.id, impact: f.impact, nodes: f.nodes.map(n => n.html).slice(0, 3)}));
  const out = document.createElement("pre");
  out.id = "axe-result";
  out.textContent = JSON.stringify({violations: brief(seen.violations), passes: seen.passes.map(p => p.id)});
  document.body.append(out);
});</script>"""


@pytest.fixture(scope="module")
def axe():
    node = shutil.which("node")
    if BROWSER is None or node is None:
        pytest.skip("no Chromium or no Node on this machine")
    resolved = subprocess.run(
        [node, "-p", "require.resolve('axe-core/axe.min.js')"], capture_output=True, text=True, check=False
    )
    if resolved.returncode:
        pytest.skip("Node does not find axe-core: npm install axe-core, or set NODE_PATH")
    return Path(resolved.stdout.strip()).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def demo():
    return audit(demo_data.table(), by=demo_data.BY, baseline="fp32", compressed=["int8", "int4"])


def audit_page(demo, folder):
    small = demo_data.table(rows=1500).to_pandas()
    small["city"] = [f"c{i % 40}" for i in small.index]  # groups that are not assessed
    sections = [
        Section("Demo", demo, first=True),
        Section("Small", audit(small, by=["city", "sex"], baseline="fp32", compressed=["int8"])),
    ]
    return render(
        sections, title="Demo", banner=demo_data.BANNER, made_by={"fairpress": "1"}, date="2026-01-01"
    )


def study_page(demo, folder):
    sizes = {"fp32": 4000.0, "int8": 1000.0, "int4": 500.0}
    placebos = {"int4": audit(demo_data.table(), by=demo_data.BY, baseline="int8", compressed=["int4"])}
    section = Section("Study", demo, first=True, placebos=placebos, sizes=sizes)
    charts = overview_charts([section])
    drawn = pareto(points_of([("", demo)], {("", name): size for name, size in sizes.items()}))
    models = [ModelFacts(name, size, size, 4000 / size) for name, size in sizes.items()]
    return render(
        [section], title="Study", models=models, charts=[*charts, replace(charts[0], name="p", svg=drawn)]
    )


def dashboard_page(demo, folder):
    client = pytest.importorskip("starlette.testclient", reason="the extra `dashboard` is not installed")
    from fairpress.dashboard.app import create_app

    make_study(folder / "runs" / "s")
    answer = client.TestClient(create_app(folder / "runs"), base_url="http://127.0.0.1").get("/study/s")
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("make", [audit_page, study_page, dashboard_page])
def test_axe_finds_no_serious_fault(axe, demo, tmp_path, make, scheme):
    page = re.sub(r"<meta http-equiv[^>]*>", "", make(demo, tmp_path))
    file = tmp_path / "page.html"
    file.write_text(page.replace("</head>", f"<script>{axe}</script>{RUN}</head>", 1), encoding="utf-8")
    preferred = f"--blink-settings=preferredColorScheme={1 if scheme == 'light' else 0}"
    dom = browse(
        file.as_uri(),
        tmp_path,
        preferred,
        "--window-size=1280,900",
        "--virtual-time-budget=60000",
        "--dump-dom",
    ).stdout
    found = re.search(r'<pre id="axe-result">(.*?)</pre>', dom, re.DOTALL)
    assert found, "axe did not finish"
    result = json.loads(found.group(1).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert "color-contrast" in result["passes"]  # it looked
    assert [v for v in result["violations"] if v["impact"] in SERIOUS] == []
