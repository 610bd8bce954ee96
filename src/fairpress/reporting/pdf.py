"""A report as PDF, printed by a browser of this machine: page breaks and fonts are a browser's work."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from fairpress.core.errors import UserError
from fairpress.core.files import PathLike
from fairpress.core.output import write_file
from fairpress.core.ownership import sealed_pdf

BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
)
"""Programs that print a page without a window, in the order in which they are looked for on PATH."""
SECONDS = 180
_INSTEAD = "Write the report with --html, and print it from a browser."


def find_browser() -> str:
    """Return the browser that prints.

    Raises UserError if none of `BROWSERS` is on PATH.
    """
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise UserError(
            "a PDF is printed by Chromium, Chrome or Edge, and none of them is on PATH; install one (on Debian and Ubuntu: "
            "apt install chromium), or write the report with --html and print it from any browser."
        )
    return browser


def write_pdf(page: str, path: PathLike, *, browser: str, force: bool = False) -> Path:
    """Print a self-contained page on A4 and write it as PDF.

    Parameters
    ----------
    browser
        As `find_browser` returns it.

    Raises
    ------
    UserError
        The browser fails; or the path cannot be written, or holds a file that fairpress did not write and `force` is false.
    """
    return write_file(path, sealed_pdf(printed(page, browser)), kind=".pdf", force=force)


def printed(page: str, browser: str) -> bytes:
    """Return a page as PDF. Raises UserError if the browser fails or takes more than `SECONDS`."""
    with tempfile.TemporaryDirectory(prefix="fairpress-pdf-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        source, target = folder / "report.html", folder / "report.pdf"
        source.write_text(page, encoding="utf-8", errors="replace")
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder / 'profile'}",
            f"--print-to-pdf={target}",
            *_sandbox(),
            source.as_uri(),
        ]
        try:
            status = _run(command)
        except subprocess.TimeoutExpired:
            raise UserError(f"{_failed(browser)}: it took more than {SECONDS} seconds. {_INSTEAD}") from None
        except OSError as error:
            raise UserError(f"{_failed(browser)}: {error.strerror or error}. {_INSTEAD}") from None
        if not target.is_file():
            raise UserError(f"{_failed(browser)}: it ended with {status} and without a PDF. {_INSTEAD}")
        return target.read_bytes()


def _run(command: list[str]) -> int:
    """Return the exit status of a browser; where waiting for it ends early, all of its processes are ended."""
    # A session of its own: otherwise its processes write to the profile while an interrupted program removes it.
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return process.wait(SECONDS)
    except BaseException:
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        raise


def _failed(browser: str) -> str:
    return f"{Path(browser).name} did not print the report"


def _sandbox() -> list[str]:
    """Return the option without which Chromium refuses to run as root, as in containers; the page has no script."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return ["--no-sandbox"] if is_root else []
