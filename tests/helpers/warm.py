"""A process that has imported what commands import, and forks for each: every command starts fresh, imports wait once.

Reads requests as JSON lines and answers each with an exit code; `pages.py` starts one for each process of tests.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import sys
import threading
import traceback
from importlib import import_module
from typing import Any
from unittest.mock import patch

PRELOAD = (
    "fairpress.cli",
    "fairpress.api",
    "fairpress.auditing.audit_table",
    "fairpress.reporting.html",
    "fairpress.runtime.predict",
)
HEAVY = (
    "fairpress.studies.execution.preload",
    "fairpress.compression.compress_onnx",
    "fairpress.training.fit",
    "onnxscript",
)


def rehearse_export() -> None:
    """Export a network: what torch imports and builds at a process's first export is then there for every command.

    Progress bars start no thread meanwhile, since a process with threads is not forked.
    """
    import torch

    from fairpress.models.export import export_graph

    with torch.random.fork_rng(devices=[]), patch("tqdm.tqdm.monitor_interval", 0):
        export_graph(torch.nn.Linear(2, 2).eval(), torch.zeros(2, 2))


def serve() -> None:
    """Answer requests until there are no more."""
    for name in (*PRELOAD, *HEAVY):
        import_module(name)
    rehearse_export()
    assert threading.active_count() == 1, "a process with threads is not forked"
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(perform(asked))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def perform(asked: dict[str, Any]) -> int:
    """Do what is asked, as a process of its own would, and return its exit code."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in ((1, asked["stdout"]), (2, asked["stderr"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.chdir(asked["folder"])
    sys.path[0] = ""  # a reader's folder, not this one's
    os.environ.update(asked["environment"])
    code: Any = 0
    try:
        if "source" in asked:
            sys.argv = ["-c"]
            exec(compile(asked["source"], "<page>", "exec", dont_inherit=True), {"__name__": "__main__"})
        else:
            from fairpress.cli import main

            sys.argv = ["fairpress", *asked["arguments"]]
            main()
    except SystemExit as end:
        code = 0 if end.code is None else end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # a thread that does not end is seen as a command that does not
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code if isinstance(code, int) else 1


if __name__ == "__main__":
    serve()
