"""The gate of a release for users: whether it passes, in ten lines, as Markdown and as JSON."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any

from fairpress.auditing.result import Audit
from fairpress.auditing.verdicts.release_gate import Gate, release_gate
from fairpress.core.output import write_file


class GateReport(Gate):
    """The gate of an audit, with its output formats; ``str()`` has at most ten lines."""

    @classmethod
    def of(cls, audit: Audit, policy: Any = None) -> GateReport:
        """Return the gate of an audit; `policy` is a path or what the YAML file holds, and must be that of the audit."""
        from fairpress.auditing.verdicts.policy_option import policy_of

        gate = release_gate(audit, policy_of(policy))
        return cls(**{f.name: getattr(gate, f.name) for f in fields(Gate)})

    def __str__(self) -> str:
        """Return the gate as the command line prints it."""
        from fairpress.reporting.gate_text import gate_lines

        return "\n".join(gate_lines(self))

    def to_dict(self) -> dict[str, Any]:
        """Return the gate as plain JSON ("fairpress.gate/1")."""
        from fairpress.auditing.output.gate_json import to_dict

        return to_dict(self)

    def to_markdown(self, path: str | os.PathLike[str] | None = None, *, force: bool = False) -> str:
        """Return a comment for a pull request of at most ten lines, and write it where a path is given.

        Raises UserError where the path cannot be written, or holds a file that fairpress did not write and `force` is false.
        """
        from fairpress.reporting.gate_text import gate_markdown

        text = gate_markdown(self) + "\n"
        if path is not None:
            write_file(path, text, kind=".md", force=force)
        return text
