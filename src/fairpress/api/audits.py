"""Audit predictions and get a report."""

from __future__ import annotations

from fairpress.auditing.audit import audit as audit_of
from fairpress.core.extras import names_missing_extra
from fairpress.reporting.audit_report import with_report

audit = names_missing_extra(with_report(audit_of))
