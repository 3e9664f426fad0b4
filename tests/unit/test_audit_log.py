"""What the service adds to the audit: starts, reloads and overrides; and the command that lists it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.store import audit as audit_module
from alerts.store.audit import Audit
from alerts.store.database import Database
from rules.load import RuleSet, load_text
from tests.support.rulesets import FULL_MEMPOOL
from watchdog.cli.main import main
from watchdog.core.release import VERSION
from watchdog.service.audit_log import audit_reload, audit_start
from watchdog.service.case_metrics import audit_metrics
from watchdog.service.exposition import Exposition

NOW_NS = 1_770_000_000_000_000_000


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Audit]:
    database = Database.open(f"sqlite:///{tmp_path / 'h.db'}")
    yield Audit(database)
    database.close()


def rules(text: str = FULL_MEMPOOL) -> RuleSet:
    return load_text(text)


def actions(audit: Audit) -> list[str]:
    return [str(one["action"]) for one in reversed(audit.page().rows)]


def test_a_start_has_the_version_and_the_hash_of_the_rules(audit: Audit) -> None:
    audit_start(audit, rules(), NOW_NS)
    (entry,) = audit.page().rows
    assert (entry["who"], entry["action"], entry["subject"]) == ("watchdog", "start", "service")
    assert entry["detail"] == {"version": VERSION, "rules": rules().hash}


def test_overrides_are_an_entry_when_they_change(audit: Audit) -> None:
    (rule,) = rules().plans
    changed = rules(f"{FULL_MEMPOOL}\noverrides: {{{rule.id}: {{severity: high, title: Full}}}}\n")
    audit_start(audit, changed, NOW_NS)
    audit_start(audit, changed, NOW_NS)
    audit_reload(audit, rules(), NOW_NS, ok=True, text="1 rule (changed)")
    audit_reload(audit, rules(), NOW_NS, ok=True, text="1 rule (as before)")
    assert actions(audit) == ["start", "override", "start", "reload", "override", "reload"]
    first = audit.page().rows[-2]["detail"]
    assert first == {"rules": [f"{rule.id}: severity, title"], "beyond": 0}
    assert (audit.latest("override") or {})["detail"] == {"rules": [], "beyond": 0}


def test_a_reload_that_failed_is_an_entry_too(audit: Audit) -> None:
    audit_reload(audit, rules(), NOW_NS, ok=False, text="nothing was changed:\nx")
    (entry,) = audit.page().rows
    assert entry["detail"] == {"ok": False, "rules": rules().hash, "text": "nothing was changed:; x"}


def test_a_full_audit_is_a_line_of_the_log(
    audit: Audit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(audit_module, "MOST_ENTRIES", 1)
    audit_start(audit, rules(), NOW_NS)
    with caplog.at_level(logging.WARNING):
        audit_start(audit, rules(), NOW_NS)
    assert "audit: 'start' was not stored: the audit is full" in caplog.text
    assert audit.entries() == 1


def test_a_long_detail_keeps_its_names(audit: Audit) -> None:
    audit.add("note", "anna", "x" * 500, at_ns=NOW_NS, detail={"text": "x" * 5_000})
    (entry,) = audit.page().rows
    assert entry["detail"] == {"left_out": ["text"]}
    assert len(str(entry["subject"])) == 200


def test_the_command_lists_pages_and_escapes(audit: Audit, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        audit.add("note", "anna\x1b[31m", f"case {number}", at_ns=NOW_NS, detail={"text": "a\nb", "count": 2})
    url = f"sqlite:///{tmp_path / 'h.db'}"
    assert main(["audit", "list", "--db", url, "--limit", "2"]) == 0
    shown = capfd.readouterr()
    assert shown.out.splitlines()[0] == ("2026-02-02 02:40:00  anna\\x1b[31m  note      case 2  text a\\x0ab, count 2")
    cursor = shown.err.strip().rpartition(" ")[2]
    assert main(["audit", "list", "--db", url, "--cursor", cursor, "--jsonl"]) == 0
    (row,) = capfd.readouterr().out.splitlines()
    assert json.loads(row)["subject"] == "case 0"
    assert main(["audit", "list", "--db", url, "--limit", "0"]) == 2
    assert main(["audit", "list", "--db", url, "--cursor", "x"]) == 2


def test_the_end_of_a_silence_is_a_date(audit: Audit, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    audit.add("silence", "anna", "silence 1", at_ns=NOW_NS, detail={"change": "added", "until": NOW_NS / 1e9 + 60})
    assert main(["audit", "list", "--db", f"sqlite:///{tmp_path / 'h.db'}"]) == 0
    assert capfd.readouterr().out.endswith("silence 1  change added, until 2026-02-02 02:41:00\n")


def test_the_metric_counts_entries(audit: Audit) -> None:
    audit_start(audit, rules(), NOW_NS)
    out = Exposition()
    audit_metrics(out, audit.entries())
    assert "watchdog_audit_entries 1.0" in out.text().splitlines()
