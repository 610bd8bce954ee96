"""The option `policy` of an audit: a policy that is read already, a path or a mapping, and what it fixes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fairpress.auditing.outcome import outcome_request
from fairpress.auditing.verdicts.margins import margins_of, min_rows_of
from fairpress.core.errors import UserError

if TYPE_CHECKING:
    from fairpress.auditing.verdicts.policy import Policy


def policy_of(given: Any) -> Policy | None:
    """Return a policy: one that is read already, a path, or a mapping as in the YAML file."""
    if given is None:
        return None
    # Most audits have no policy, and its schema takes long to build.
    from fairpress.auditing.verdicts.policy import Policy, read_policy

    if isinstance(given, Policy):
        return given
    if isinstance(given, (str, os.PathLike)):
        return read_policy(given)
    if isinstance(given, Mapping):
        from fairpress.core.config import parse

        return parse(Policy, given, "the policy")
    raise UserError(f"`policy=` is the path of a YAML file such as 'fairpress-policy.yaml', not {given!r}.")


def with_policy(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of an audit with those that their policy fixes; unchanged without a policy.

    Raises UserError for an option that differs from the policy's: whoever runs the audit does not choose it.
    """
    policy = policy_of(given.get("policy"))
    if policy is None:
        return dict(given)
    fixed = policy.options()
    if policy.outcome is None and outcome_request(given.get("outcome")) is not None:
        raise UserError(
            f"the policy that {policy.signed.name} signed on {policy.signed.date} is about classes, and not about the "
            f"outcome {str(outcome_request(given['outcome']))!r}; leave `outcome=` out, or write it into the policy."
        )
    for name, value in fixed.items():
        chosen = given.get(name)
        plain = _plain if policy.outcome is None else _plain_of_outcome
        if chosen is not None and plain(name, chosen) != plain(name, value):
            raise UserError(
                f"the policy that {policy.signed.name} signed on {policy.signed.date} fixes `{name}=`; leave it out, or "
                "change the policy."
            )
    return {**given, **fixed, "policy": policy}


def _plain_of_outcome(name: str, value: Any) -> Any:
    """Return an option as `_plain` does; margins of an outcome as they are written."""
    if name == "margin":
        return value if isinstance(value, Mapping) else {"default": value}
    return _plain(name, value)


def _plain(name: str, value: Any) -> Any:
    """Return an option so that equal choices are equal values; reasons of margins do not count."""
    if name == "margin":
        return {error: (m.value, m.relative) for error, m in margins_of(value).items()}
    if name == "min_rows":
        return min_rows_of(value)
    if name in ("by", "compressed"):
        return sorted([value] if isinstance(value, str) else map(str, value))
    if name == "outcome":
        return str(outcome_request(value))
    return str(value) if name == "positive" else value
