"""The error raised for a compressed file that does not match its recipe."""

from __future__ import annotations

from fairpress.core.errors import FairpressError


class VerificationError(FairpressError):
    """A compressed file does not match its recipe, and is not shipped."""
