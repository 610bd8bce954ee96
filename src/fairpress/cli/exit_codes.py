"""The exit codes of every command and what they mean."""

from __future__ import annotations

from collections.abc import Mapping

SUCCESS = 0
GATE_FAILED = 1
BAD_INPUT = 2
TRIALS_FAILED = 3
UNEXPECTED_ERROR = 70
"""EX_SOFTWARE of sysexits.h."""
SIGNAL = 128
"""The code of a process that a signal ended is this plus the number of the signal."""
INTERRUPTED = SIGNAL + 2
BROKEN_PIPE = SIGNAL + 13


class ServerStopped(int):
    """The exit code of a command whose threads may still be inside a native library.

    Python's finalization would abort such a process, so that it ends without it.
    """


EXIT_CODES: Mapping[int, str] = {
    SUCCESS: "success",
    GATE_FAILED: "a gate failed",
    BAD_INPUT: "bad input",
    TRIALS_FAILED: "some trials of a study failed",
    UNEXPECTED_ERROR: "an unexpected error, with a log file, or out of memory",
    SIGNAL + 1: "hang-up (SIGHUP)",
    INTERRUPTED: "interrupted (Ctrl-C)",
    SIGNAL + 15: "terminated (SIGTERM)",
    BROKEN_PIPE: "the reader of the output went away",
}

EPILOGUE = f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in sorted(EXIT_CODES.items()))}."
