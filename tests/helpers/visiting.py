"""The dashboard behind a real address, for browsers and for sockets."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
import time

from fairpress.dashboard.serving import ClientLimits, listen, server

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextlib.contextmanager
def serving(app, limits: ClientLimits | None = None):
    """Serve an application; yield its port."""
    running = server(app, limits)
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not running.started:
            time.sleep(0.02)
        try:
            yield port
        finally:
            running.should_exit = True
            thread.join(10)


def browse(address, folder, *options):
    """Open an address in a browser without a window; return what it printed."""
    quiet = ("background-networking", "component-update", "sync")
    ran = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         *(f"--disable-{what}" for what in quiet), "--enable-logging=stderr", f"--user-data-dir={folder / 'profile'}",
         *options, address],
        capture_output=True, text=True, timeout=120, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran
