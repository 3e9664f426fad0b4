"""What the service itself adds to the audit: its start, reloads, and which rules the configuration overrides.

An entry that cannot be stored becomes a log line: it stops no monitoring.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from alerts.store.audit import SERVICE, Audit, AuditAction, AuditFullError
from rules.load import RuleSet
from watchdog.core.errors import StoreUnavailableError
from watchdog.core.release import VERSION
from watchdog.core.text import printable

TEXT_LIMIT = 1_000  # characters of the answer of a reload
NAMED = 50  # overridden rules in one entry
_LOG = logging.getLogger("watchdog.service")


def audit_start(audit: Audit, rules: RuleSet, now_ns: int) -> None:
    """Add that the service starts, with the hash of its rules."""
    _add(audit, "start", "service", now_ns, {"version": VERSION, "rules": rules.hash})
    _audit_overrides(audit, rules, now_ns)


def audit_reload(audit: Audit, rules: RuleSet, now_ns: int, *, ok: bool, text: str) -> None:
    """Add a reload, with its answer and the hash of the rules that are in force now."""
    detail = {"ok": ok, "rules": rules.hash, "text": printable("; ".join(text.splitlines()), TEXT_LIMIT)}
    _add(audit, "reload", "configuration", now_ns, detail)
    if ok:
        _audit_overrides(audit, rules, now_ns)


def _audit_overrides(audit: Audit, rules: RuleSet, now_ns: int) -> None:
    """Add which rules are overridden, when that differs from the latest such entry."""
    now = {"rules": list(rules.overridden[:NAMED]), "beyond": max(len(rules.overridden) - NAMED, 0)}
    try:
        before = audit.latest("override")
    except StoreUnavailableError as error:
        _LOG.warning("audit: %s", error)
        return
    if (before is None and rules.overridden) or (before is not None and before["detail"] != now):
        _add(audit, "override", "rules", now_ns, now)


def _add(audit: Audit, action: AuditAction, subject: str, now_ns: int, detail: Mapping[str, object]) -> None:
    try:
        audit.add(action, SERVICE, subject, at_ns=now_ns, detail=detail)
    except (AuditFullError, StoreUnavailableError) as error:
        _LOG.warning("audit: '%s' was not stored: %s", action, error)
