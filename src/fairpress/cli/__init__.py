"""What a user types: parse, call, print."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Sequence

from cyclopts.exceptions import CycloptsError

from fairpress.cli import (  # noqa: F401  each adds its commands
    auditing,
    benching,
    dashboard,
    datasets,
    demonstrate,
    mitigating,
    models,
    searching,
    studies,
    training,
)
from fairpress.cli.program import (
    BROKEN_PIPE,
    FAILED_TRIALS,
    UNEXPECTED,
    WRONG_INPUT,
    app,
    close_output,
    discard_output,
)
from fairpress.core import temporary
from fairpress.core.errors import FairpressError, UserError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    0 done, 1 a gate failed, 2 wrong input, 3 some trials failed, 70 an unexpected error, 130 or 143 interrupted (SIGINT,
    SIGTERM). A reader that goes away (``| head``) changes nothing; where the work itself ends by it, the code is 141.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    with _temporary_files():
        code = _run(given)
    close_output()
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        from fairpress.cli.mistakes import sentence

        return _refused(sentence(error))
    except UserError as error:
        return _refused(str(error))
    except FairpressError as error:
        _complain(f"fairpress: {error}\n")
        return FAILED_TRIALS
    except BrokenPipeError:
        discard_output()
        return BROKEN_PIPE
    except KeyboardInterrupt as error:
        _complain("fairpress: interrupted; finished work is kept, the same command goes on from there.\n")
        return int(getattr(error, "exit_code", 130))
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return _refused(f"the file name {str(error.filename)[:80]}… is too long; choose a shorter one.")
        remedy = temporary.no_space(error)
        return _unexpected(error, arguments) if remedy is None else _refused(remedy)
    except Exception as error:  # exit code 1 would say that a gate failed
        return _unexpected(error, arguments)
    return code if isinstance(code, int) else 0


def _temporary_files() -> contextlib.AbstractContextManager[object]:
    """Let the command put temporary files into one folder, of which nothing is left when it ends."""
    try:
        return temporary.used(temporary.folder())
    except UserError:  # there is no such place; a command that needs one says so
        return contextlib.nullcontext()


def _unexpected(error: Exception, arguments: list[str]) -> int:
    from fairpress.cli.crash import report

    _complain(report(error, arguments))
    return UNEXPECTED


def _refused(sentence: str) -> int:
    _complain(f"fairpress: {sentence}\n")
    return WRONG_INPUT


def _complain(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except BrokenPipeError:
        pass
