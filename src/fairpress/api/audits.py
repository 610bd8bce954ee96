"""Audit predictions and get a report."""

from __future__ import annotations

from fairpress.auditing.audit import audit as audit_of
from fairpress.core.public_function import public_function
from fairpress.reporting.audit_report import with_report

audit = public_function(with_report(audit_of))
