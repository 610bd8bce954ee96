"""The command line: parse the arguments, run the command, print errors, exit with a code."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import sys
from collections.abc import Sequence

from cyclopts.exceptions import CycloptsError

from fairpress.cli.app import (
    Signals,
    app,
    cannot_print,
    close_output,
    discard_output,
    open_closed_streams,
    output_error,
)
from fairpress.cli.commands import register
from fairpress.cli.exit_codes import (
    BAD_INPUT,
    BROKEN_PIPE,
    INTERRUPTED,
    TRIALS_FAILED,
    UNEXPECTED_ERROR,
    ServerStopped,
)
from fairpress.cli.progress import SignOfLife
from fairpress.core import temporary
from fairpress.core.errors import FairpressError, UserError
from fairpress.core.extras import missing_extra
from fairpress.core.urls import without_logins

RESUMABLE = ("study", "train", "search")
"""Commands that keep finished work when they are interrupted."""


_NEW_OBJECTS = 200_000
"""Objects after which garbage is collected. Imports make many and no garbage; after every 700, which is Python's default,
looking for some takes a tenth of an audit's time."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with one of `exit_codes.EXIT_CODES`.

    A reader that goes away (``| head``) does not change the code of a command that has finished its work.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    gc.set_threshold(_NEW_OBJECTS)
    open_closed_streams()
    with Signals(), _temporary_folder():
        code = _run(given)
        try:
            close_output()
        except OSError as error:
            code = _refuse(cannot_print(error))
    if arguments is None and isinstance(code, ServerStopped):
        temporary.remove_all()
        os._exit(code)
    if arguments is None:
        gc.freeze()  # looking for garbage as the process ends takes a seventh of an audit's time
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    try:
        register(arguments)
        with _heartbeat(arguments):
            code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        from fairpress.cli.usage_errors import usage_sentence

        return _refuse(usage_sentence(error))
    except UserError as error:
        return _refuse(_message(error, arguments))
    except FairpressError as error:
        _print_error(f"fairpress: {_message(error, arguments)}\n")
        return TRIALS_FAILED
    except ModuleNotFoundError as error:
        known = missing_extra(error)
        return _unexpected_error(error, arguments) if known is None else _refuse(f"{known}.")
    except BrokenPipeError:
        discard_output()
        return BROKEN_PIPE
    except KeyboardInterrupt as error:
        kept = (
            "finished work is kept, and the same command resumes from it"
            if _command(arguments) in RESUMABLE
            else "no output was left half-written"
        )
        _print_error(f"fairpress: interrupted; {kept}.\n")
        return int(getattr(error, "exit_code", INTERRUPTED))
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return _refuse(f"the file name {str(error.filename)[:80]}… is too long; choose a shorter one.")
        if (of_output := output_error()) is not None:
            return _refuse(cannot_print(of_output))
        return _unexpected_error(error, arguments)
    except Exception as error:  # exit code 1 would mean that a gate failed
        return _unexpected_error(error, arguments)
    return code if isinstance(code, int) else 0


def _heartbeat(arguments: list[str]) -> contextlib.AbstractContextManager[object]:
    """Return the context that reports a long silent command; none for the dashboard or a study with a progress bar."""
    command = _command(arguments)
    silent = command in ("", "dashboard") or (command == "study" and sys.stderr.isatty())
    return contextlib.nullcontext() if silent else SignOfLife(command)


def _command(arguments: list[str]) -> str:
    """Return the name of the command; empty if there is none."""
    return next((a for a in arguments if not a.startswith("-")), "")


def _temporary_folder() -> contextlib.AbstractContextManager[object]:
    """Give the command one folder for temporary files, which is removed when it ends."""
    try:
        return temporary.use_as_tmpdir(temporary.folder())
    except UserError:  # no usable folder: a command that needs one reports it
        return contextlib.nullcontext()


def _unexpected_error(error: Exception, arguments: list[str]) -> int:
    from fairpress.cli.crash import is_out_of_memory, log_error, machine_error

    if (sentence := machine_error(error)) is not None:
        return _refuse(without_logins(sentence))
    if is_out_of_memory(error):
        _print_error(
            "fairpress: out of memory; use fewer rows, columns or workers, a smaller batch, or a machine with more memory. "
            "No output file was left half-written.\n"
        )
        return UNEXPECTED_ERROR
    _print_error(log_error(error, arguments))
    return UNEXPECTED_ERROR


def _message(error: FairpressError, arguments: list[str]) -> str:
    """Return an error's sentence in the words of the command line, without passwords."""
    from fairpress.cli.usage_errors import in_options

    return in_options(without_logins(str(error)), _options(arguments))


def _options(arguments: list[str]) -> set[str]:
    """Return the options of the command that is run, such as ``--by``."""
    try:
        command = app.parse_commands(arguments)[1][-1]
        return {name for argument in command.assemble_argument_collection() for name in argument.names}
    except CycloptsError:
        return set()


def _refuse(sentence: str) -> int:
    _print_error(f"fairpress: {sentence}\n")
    return BAD_INPUT


def _print_error(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):  # the stream is closed, or has no reader
        pass
