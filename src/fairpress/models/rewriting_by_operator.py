"""Let onnxscript try a rewriting rule only at operators that its pattern can end with.

onnxscript tries each rule at each node, and for a pattern with several results goes through all other nodes each time: most
of the time in which torch's exporter simplifies a transformer. The first thing that a pattern compares is the operator.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

from onnxscript.rewriter import RewriteRule

_changing = RLock()  # the rules' method is one for all threads


@contextmanager
def rules_by_operator() -> Iterator[None]:
    """Skip rules that cannot match a node within the context; which rules are applied stays the same."""
    possible: dict[tuple[RewriteRule, str], bool] = {}

    def try_at_operator(self: RewriteRule, model: Any, graph: Any, node: Any, **options: Any) -> Any:
        key = (self, node.op_type)
        if key not in possible:
            possible[key] = _may_end_with(self, node.op_type)
        return try_rewrite(self, model, graph, node, **options) if possible[key] else None

    if not hasattr(RewriteRule, "try_rewrite"):  # another release of onnxscript
        yield
        return
    with _changing:
        try_rewrite = RewriteRule.try_rewrite
        RewriteRule.try_rewrite = try_at_operator
        try:
            yield
        finally:
            RewriteRule.try_rewrite = try_rewrite


def _may_end_with(rule: RewriteRule, operator: str) -> bool:
    """Return whether a rule's pattern may match a node of this operator; True for rules of another make."""
    try:
        if type(rule._matcher).__name__ != "SimplePatternMatcher":
            return True
        return bool(rule._target_pattern.output_nodes[0].op.matches(operator))
    except (AttributeError, IndexError):
        return True
