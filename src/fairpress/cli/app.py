"""What every command shares: the program, its signals, and how it prints."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self

from cyclopts import App

from fairpress.cli.exit_codes import EPILOGUE, SIGNAL
from fairpress.core.errors import UserError
from fairpress.core.version import __version__

if TYPE_CHECKING:
    from fairpress.auditing.result import Audit

PARAMETERS = "\nParameters\n"


class CommandGroup(App):
    """Commands whose help is wrapped once, to the width of the terminal, and not at the lines of the docstring too."""

    if not TYPE_CHECKING:  # the decorator keeps the type that cyclopts gives it

        def command(self, obj=None, *arguments, **options):
            """Register a command, or return a decorator that does."""
            if inspect.isfunction(obj):
                obj.__doc__ = joined_paragraphs(obj.__doc__ or "")
            return super().command(obj, *arguments, **options)


def joined_paragraphs(docstring: str) -> str:
    """Return a docstring with one line for each paragraph above its parameters."""
    text, heading, parameters = inspect.cleandoc(docstring).partition(PARAMETERS)
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return "\n\n".join(filter(None, paragraphs)) + (f"\n{heading}{parameters}" if heading else "")


app = CommandGroup(
    name="fairpress",
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # `main` reports what happens to finished work
    help="Find out which groups of people lose accuracy when a neural network is quantized or pruned, whether the loss is "
    "real or noise, and how to avoid it.\n\nFirst steps: `fairpress demo`, `fairpress study run compas`."
    f"\n\n{EPILOGUE}",
)


def split_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def csv_text(table: Any) -> str:
    import io

    from pyarrow import csv

    sink = io.BytesIO()
    csv.write_csv(table, sink)
    return sink.getvalue().decode()


def show_audit(report: Audit, *, all_groups: bool = False) -> None:
    from fairpress.reporting import terminal

    for part in terminal.render(report, all_groups=all_groups):
        print_line(part)


def print_line(renderable: Any, **options: Any) -> None:
    """Print on standard output; a closed pipe neither stops the command nor changes its exit code."""
    from rich.console import Console

    class Patient(Console):
        def on_broken_pipe(self) -> None:
            discard_output()

    console = Patient(width=None if sys.stdout.isatty() else 100, highlight=False, soft_wrap=False)
    with _full_output():
        console.print(renderable, **options)


def print_sentence(text: str) -> None:
    """Print text that breaks between words on a terminal, and stays one line elsewhere, for programs that read lines."""
    print_line(text, markup=False, soft_wrap=not sys.stdout.isatty())


def print_markdown(text: str) -> None:
    """Print Markdown: drawn on a terminal, as its source elsewhere."""
    if not sys.stdout.isatty():
        print_line(text, markup=False, soft_wrap=True)
        return
    from rich.markdown import Markdown

    print_line(Markdown(text))


def write_output(text: str) -> None:
    """Write text such as JSON unchanged on standard output; a closed pipe does not change the exit code."""
    try:
        with _full_output():
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
    except BrokenPipeError:
        discard_output()


@contextlib.contextmanager
def _full_output() -> Iterator[None]:
    """Say of an error of standard output, such as a full disk, that it is not one of the files that a command writes."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        raise UserError(cannot_print(error)) from None


def open_closed_streams() -> None:
    """Open the null device for each standard stream that is closed (``>&-``), or the next file would get its descriptor.

    Processes that this one starts inherit it.
    """
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is not None:
            continue
        with contextlib.suppress(OSError):
            null_device = os.open(os.devnull, os.O_RDWR)
            if null_device != descriptor:
                os.dup2(null_device, descriptor)
                os.close(null_device)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8"))


def cannot_print(error: OSError) -> str:
    """Return the message for an error of standard output."""
    return f"cannot write to standard output ({error.strerror}); redirect it to another file."


def discard_output() -> None:
    """Redirect standard output to the null device, because its reader is gone; else Python reports an error at exit."""
    try:
        null_device = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null_device, sys.stdout.fileno())
    except (OSError, ValueError):
        return


def close_output() -> None:
    """Flush standard output, so that nothing is left to fail when Python exits."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
    except ValueError:  # it is closed
        return
    except OSError:  # a full disk: output is lost, which must not pass for success
        discard_output()
        raise


def output_error() -> OSError | None:
    """Return why standard output takes nothing; None if it does, or cannot be asked."""
    try:
        close_output()
        # A terminal's lines are gone from the buffer even where writing them failed.
        os.write(sys.stdout.fileno(), b"")
    except ValueError:  # closed, or replaced by an object without a descriptor
        return None
    except OSError as error:
        return error
    return None


class Interrupted(KeyboardInterrupt):
    """The process received a signal to end; temporary files are removed on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = SIGNAL + number


class Signals:
    """A context in which SIGTERM and SIGHUP end the program as Ctrl-C does, unless another handler is installed.

    Characters that the terminal's encoding lacks, such as those of a file name that is not UTF-8, are printed escaped.
    """

    def __enter__(self) -> Self:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        self._set: list[int] = []
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, _interrupt)
                    self._set.append(number)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._set:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second signal would interrupt the cleanup
    raise Interrupted(number)
