"""How long the dashboard takes for each page over a folder with 2,000 networks, and for its first chart.

``python benchmarks/dashboard.py`` makes the folder, starts `fairpress dashboard` and asks for each page seven times, first
ones told apart: what is read is remembered as long as the file stays what it is.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "dashboard"))
from made import make_model, make_study

PAGES = {
    "all studies": "",
    "a study of 1,800 networks": "study/large",
    "filtered": "study/large?method=int4&group=sex+%3D+Female",
    "chart": "chart/large?group=sex+%3D+Female",
    "one network's audit": "network/4/large",
    "two models compared": "compare/large?part=&first=int8&second=int4",
    "a model": "model/model0",
}


def seconds(address: str) -> float:
    """Return how long a page takes to come."""
    started = time.perf_counter()
    with urllib.request.urlopen(address) as answer:
        answer.read()
    return time.perf_counter() - started


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_study(root / "large", networks=1800, rows=6000)
        for i in range(200):
            make_model(root / f"model{i}")
        command = ["fairpress", "dashboard", folder, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            base = server.stdout.readline().split()[0]
            time.sleep(3)
            print("page | first, s | then, median of 6, s\n---|---|---")
            for name, page in PAGES.items():
                first, *others = (seconds(base + page) for _ in range(7))
                print(f"{name} | {first:.2f} | {statistics.median(others):.3f}")
            server.terminate()
