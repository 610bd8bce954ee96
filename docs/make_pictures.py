"""Take the pictures of the documentation again: `python docs/make_pictures.py`, after a change to the looks of reports.

It needs Chromium, Chrome or Edge. With the folder of a finished study of COMPAS it also takes those of the study:
`fairpress study run compas && python docs/make_pictures.py runs/compas`.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from fairpress.reporting.pdf import find_browser

IMAGES = Path(__file__).parent / "images"
COLOURS = 128
FIGURES = {
    "compas-prune-80.svg": "prune-80-against-placebo-tpr.svg",
    "compas-bias.svg": "sparsity-bias.svg",
}
"""Picture of the documentation → figure of the study of COMPAS."""


def take(address: str, name: str, width: int, height: int, *, dark: bool = False) -> None:
    """Write the upper part of a page as PNG, with few colours so that the file is small."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        taken = Path(folder) / "taken.png"
        command = [
            find_browser(),
            *("--headless", "--disable-gpu", "--no-first-run", "--hide-scrollbars"),
            *(["--no-sandbox"] if root else []),
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            f"--user-data-dir={folder}/profile",
            f"--window-size={width},{height}",
            f"--screenshot={taken}",
            address,
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=180)
        with Image.open(taken) as picture:
            small = picture.convert("RGB").quantize(
                COLOURS,
                method=Image.Quantize.MAXCOVERAGE,
                dither=Image.Dither.NONE,  # rare colors stay: harm is one
            )
    data = io.BytesIO()
    small.save(data, "PNG", optimize=True)
    (IMAGES / name).write_bytes(data.getvalue())


@contextmanager
def dashboard(folder: Path) -> Iterator[str]:
    """Serve the dashboard of a folder; yield its address."""
    command = ["fairpress", "dashboard", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[0].rstrip("/")
        finally:
            server.terminate()


def main(study: Path | None = None) -> None:
    """Take all pictures, those of a study only with its folder."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["fairpress", "demo", "--out", folder], check=True, capture_output=True)
        report = (Path(folder) / "report.html").as_uri()
        take(report, "report.png", 1280, 960)
        take(report, "report-dark.png", 1280, 960, dark=True)
        take(report, "report-phone.png", 390, 1500)
    if study is None:
        return
    for name, figure in FIGURES.items():
        (IMAGES / name).write_bytes((study / "figures" / figure).read_bytes())
    with dashboard(study.parent) as address:
        take(f"{address}/study/{study.name}", "dashboard.png", 1280, 900)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
