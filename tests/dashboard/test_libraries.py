"""Pages that are the first to need a library, at the same time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from study_folders import make_study

pytest.importorskip("starlette", reason="the extra `dashboard` is not installed")
pytest.importorskip("pandas")

# The import of pandas waits in the middle until the chart is there, or a second where the chart waits for the import.
CODE = """
import importlib.abc, sys, threading
from pathlib import Path
from starlette.testclient import TestClient
from fairpress.dashboard.app import create_app

within, drawn = threading.Event(), threading.Event()

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "pandas.core.api":
            within.set()
            drawn.wait(1)

assert "pandas" not in sys.modules
sys.meta_path.insert(0, Slow())
visitor = TestClient(create_app(Path(sys.argv[1])), base_url="http://127.0.0.1", raise_server_exceptions=False)
compared = []
first = threading.Thread(
    target=lambda: compared.append(visitor.get("/compare/s?part=&first=fp32&second=int8").status_code)
)
first.start()
assert within.wait(60)
chart = visitor.get("/chart/s").status_code
drawn.set()
first.join()
print(chart, *compared)
"""


def test_a_chart_is_drawn_while_another_page_imports_pandas(tmp_path):
    make_study(tmp_path / "s")
    ran = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, timeout=400
    )
    assert ran.stdout.split() == ["200", "200"], ran.stderr
