"""`fairpress dashboard`: a folder of studies and models in a browser on this machine."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from fairpress.cli.app import app, print_line
from fairpress.cli.exit_codes import INTERRUPTED, SUCCESS, ServerStopped
from fairpress.core.errors import UserError

LOOPBACK = "127.0.0.1"


@app.command
def dashboard(
    folder: Path = Path("runs"),
    /,
    *,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 8765,
) -> int:
    """Show studies and models in a browser, finished or in progress. Needs fairpress[dashboard].

    Example: fairpress dashboard runs/

    It listens on localhost only, reads only files in the folder, and changes nothing. Ctrl-C stops it.

    Parameters
    ----------
    folder
        The folder with studies and models, up to five levels deep.
    port
        Port of the address http://127.0.0.1:PORT; 0 chooses a free one.
    """
    import threading

    try:
        from fairpress.dashboard.app import create_app
        from fairpress.dashboard.libraries import load
        from fairpress.dashboard.serving import listen, server
    except ModuleNotFoundError as error:
        raise UserError(
            f"the dashboard needs {error.name}; python -m pip install 'fairpress[dashboard]'."
        ) from None
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; `fairpress study run` creates one.")
    try:
        listener = listen(LOOPBACK, port)
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise UserError(f"port {port} {reason}; choose another --port, such as 0 for a free one.") from None
    print_line(f"http://{LOOPBACK}:{listener.getsockname()[1]}/  (Ctrl-C stops it)", markup=False)
    code = SUCCESS
    try:
        threading.Thread(target=load, daemon=True).start()  # so that the first visitor does not wait
        server(create_app(folder)).run(sockets=[listener])
    except KeyboardInterrupt as error:  # there is no unfinished work to report
        code = int(getattr(error, "exit_code", INTERRUPTED))
    return ServerStopped(code)
