"""What a user types: parse, call, print."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Sequence

from cyclopts.exceptions import CycloptsError

from fairpress.cli import (  # noqa: F401  each adds its commands
    audit,
    bench,
    compress,
    dashboard,
    data,
    demo,
    mitigate,
    predict,
    search,
    show,
    study,
    train,
)
from fairpress.cli.app import Signals, app, close_output, discard_output
from fairpress.cli.exit_codes import BAD_INPUT, BROKEN_PIPE, INTERRUPTED, TRIALS_FAILED, UNEXPECTED_ERROR
from fairpress.cli.progress import SignOfLife
from fairpress.core import temporary
from fairpress.core.errors import FairpressError, UserError
from fairpress.core.urls import without_logins


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with one of `exit_codes.EXIT_CODES`.

    A reader that goes away (``| head``) does not change the code of a command that has finished its work.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    with Signals(), _temporary_files():
        code = _run(given)
        try:
            close_output()
        except OSError as error:
            code = _refused(f"cannot write what was to be printed ({error.strerror}); send it elsewhere.")
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    try:
        with _shown(arguments):
            code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        from fairpress.cli.usage_errors import usage_sentence

        return _refused(usage_sentence(error))
    except UserError as error:
        return _refused(_message(error, arguments))
    except FairpressError as error:
        _complain(f"fairpress: {_message(error, arguments)}\n")
        return TRIALS_FAILED
    except BrokenPipeError:
        discard_output()
        return BROKEN_PIPE
    except KeyboardInterrupt as error:
        _complain("fairpress: interrupted; finished work is kept, the same command goes on from there.\n")
        return int(getattr(error, "exit_code", INTERRUPTED))
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return _refused(f"the file name {str(error.filename)[:80]}… is too long; choose a shorter one.")
        return _unexpected(error, arguments)
    except Exception as error:  # exit code 1 would say that a gate failed
        return _unexpected(error, arguments)
    return code if isinstance(code, int) else 0


def _shown(arguments: list[str]) -> contextlib.AbstractContextManager[object]:
    """Return what shows that a command is at work: not of the dashboard, nor of a study whose bar is on the terminal."""
    command = next((a for a in arguments if not a.startswith("-")), "")
    silent = command in ("", "dashboard") or (command == "study" and sys.stderr.isatty())
    return contextlib.nullcontext() if silent else SignOfLife(command)


def _temporary_files() -> contextlib.AbstractContextManager[object]:
    """Let the command put temporary files into one folder, of which nothing is left when it ends."""
    try:
        return temporary.used(temporary.folder())
    except UserError:  # there is no such place; a command that needs one says so
        return contextlib.nullcontext()


def _unexpected(error: Exception, arguments: list[str]) -> int:
    from fairpress.cli.crash import of_machine, out_of_memory, report

    if (sentence := of_machine(error)) is not None:
        return _refused(without_logins(sentence))
    if out_of_memory(error):
        _complain(
            "fairpress: memory ran out; use fewer rows, columns or workers, a smaller batch, or a machine that has more. "
            "Nothing was written half.\n"
        )
        return UNEXPECTED_ERROR
    _complain(report(error, arguments))
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


def _refused(sentence: str) -> int:
    _complain(f"fairpress: {sentence}\n")
    return BAD_INPUT


def _complain(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):  # nobody reads it, or it is closed
        pass
