"""The program that started a study, as its worker processes see it: they import it again, under another name."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fairpress.core.errors import UserError

STARTED_AGAIN = 86
"""Exit code of a worker in which the program started processes of its own instead of waiting for tasks."""


@contextmanager
def importable_main() -> Iterator[None]:
    """Let processes that are started here do without the main module, where it is no file but standard input."""
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    if path is None or os.path.isfile(path):
        yield
        return
    vars(main).pop("__file__")
    try:
        yield
    finally:
        vars(main)["__file__"] = path


def end_if_imported_again() -> None:
    """End this process quietly if it is a worker that is still importing the program; the driver then reports why."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(STARTED_AGAIN)  # the fork server replaces the code of any other end


def started_again() -> UserError:
    """Return the error for a program that starts the study again wherever it is imported."""
    return UserError(
        "the program starts its study again in every worker process, which imports it; put what it runs below "
        '`if __name__ == "__main__":`.'
    )
