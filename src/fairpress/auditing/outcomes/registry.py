"""The kinds of outcomes by name; a new kind is a line here."""

from __future__ import annotations

from collections.abc import Mapping

from fairpress.auditing.outcome import OutcomeRequest
from fairpress.auditing.outcomes import abstention, multilabel, number, preference, ranking, ratio
from fairpress.auditing.outcomes.protocol import OutcomeKind
from fairpress.core.errors import UserError, did_you_mean

KINDS: Mapping[str, OutcomeKind] = {
    kind.word: kind
    for kind in (
        *number.KINDS,
        *ratio.KINDS,
        *preference.KINDS,
        *abstention.KINDS,
        *multilabel.KINDS,
        *ranking.KINDS,
    )
}
_SETTINGS = frozenset({"unit"})
"""Settings of every kind."""


def kind_of(request: OutcomeRequest) -> OutcomeKind:
    """Return the kind of a requested outcome; raises UserError for an unknown kind or setting."""
    kind = KINDS.get(request.kind)
    if kind is None:
        raise UserError(f"there is no outcome {request.kind!r}." + did_you_mean(request.kind, list(KINDS)))
    known = sorted(kind.settings | _SETTINGS)
    unknown = next((s for s in request.settings if s not in known), None)
    if unknown is not None:
        raise UserError(
            f"`outcome={str(request)!r}`: {kind.word} has no setting {unknown!r}, only {', '.join(known)}."
        )
    return kind
