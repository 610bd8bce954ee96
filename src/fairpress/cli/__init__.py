"""What a user types: parse, call, print."""

from __future__ import annotations

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
from fairpress.cli.program import FAILED_TRIALS, WRONG_INPUT, app
from fairpress.core.errors import FairpressError, UserError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    0 done, 1 a gate failed, 2 wrong input, 3 some trials failed, 130 or 143 interrupted (SIGINT, SIGTERM).
    """
    try:
        code = app(
            sys.argv[1:] if arguments is None else list(arguments),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except (UserError, CycloptsError) as error:
        sys.stderr.write(f"fairpress: {error}\n")
        code = WRONG_INPUT
    except FairpressError as error:
        sys.stderr.write(f"fairpress: {error}\n")
        code = FAILED_TRIALS
    except KeyboardInterrupt as error:
        sys.stderr.write(
            "fairpress: interrupted; finished work is kept, the same command goes on from there.\n"
        )
        code = getattr(error, "exit_code", 130)
    sys.exit(code if isinstance(code, int) else 0)
