"""Errors for users: one sentence with the problem, its location and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class FairpressError(Exception):
    """Base of every error fairpress raises on purpose. The message is for the user."""


class UserError(FairpressError):
    """The user's input is wrong; the command line exits with 2 and prints only the message."""


class ModelWarning(UserWarning):
    """A model can be run, but something about it deserves attention."""


class MissingExtra(UserError):
    """A command needs an optional dependency that is not installed.

    Parameters
    ----------
    subject
        What needs the extra, as the subject of a sentence (``"Training a network"``).
    extra
        The name of the extra that provides it (``"torch"``).
    """

    def __init__(self, subject: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{subject} needs an optional part: python -m pip install 'fairpress[{extra}]'")


def listed(names: Sequence[str], max_names: int = 20) -> str:
    """Return the first names for a sentence, long ones shortened."""
    shown = [name if len(name) <= 60 else name[:60] + "…" for name in names[:max_names]]
    return ", ".join(shown) + (f" and {len(names) - max_names:,} more" if len(names) > max_names else "")


def did_you_mean(name: str, valid_names: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" or the list of valid names, to end a sentence about an unknown name."""
    options = sorted(set(valid_names))
    close = difflib.get_close_matches(str(name).lower(), [o.lower() for o in options], n=1, cutoff=0.6)
    if close:
        return f" Did you mean {next(o for o in options if o.lower() == close[0])!r}?"
    if not options:
        return ""
    shown = ", ".join(options[:12]) + (", …" if len(options) > 12 else "")
    return f" Available: {shown}."
