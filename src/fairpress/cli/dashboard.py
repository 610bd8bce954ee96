"""`fairpress dashboard`: a folder of studies and models in a browser on this machine."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from fairpress.cli.app import app, print_line
from fairpress.cli.exit_codes import INTERRUPTED
from fairpress.core.errors import UserError

LOOPBACK = "127.0.0.1"


@app.command
def dashboard(
    folder: Path = Path("runs"),
    /,
    *,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 8765,
) -> int:
    """Look at studies and models in a browser: those in progress too. Needs fairpress[dashboard].

    Example: fairpress dashboard runs/

    It answers this machine alone, reads only files in the folder, and changes nothing. Ctrl-C ends it.

    Parameters
    ----------
    folder
        Where studies and models are, at any depth up to five.
    port
        Of the address http://127.0.0.1:PORT; 0 takes a free one.
    """
    import threading

    try:
        from fairpress.dashboard.app import create_app, warm
        from fairpress.dashboard.serving import listen, server
    except ModuleNotFoundError as error:
        raise UserError(
            f"the dashboard needs {error.name}; python -m pip install 'fairpress[dashboard]'."
        ) from None
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; `fairpress study run` makes one.")
    try:
        listener = listen(LOOPBACK, port)
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise UserError(f"port {port} {why}; choose another --port, such as 0 for a free one.") from None
    print_line(f"http://{LOOPBACK}:{listener.getsockname()[1]}/  (Ctrl-C ends it)", markup=False)
    try:
        threading.Thread(target=warm, daemon=True).start()
        server(create_app(folder)).run(sockets=[listener])
    except (
        KeyboardInterrupt
    ) as error:  # nothing was under way that goes on another time: no sentence about it
        return int(getattr(error, "exit_code", INTERRUPTED))
    return 0
