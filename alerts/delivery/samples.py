"""Bodies of notices about a case and an incident that are made up, for `watchdog check` and previews."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from alerts.notice import CASE_EVENT_TYPES

START: Final = 1_780_000_000.0  # unix seconds, May 2026
ATTACKER: Final = "198.51.0.0/16"
ADDRESSES: Final = ("198.51.100.7", "198.51.100.23", "198.51.100.41")
SECOND: Final = "203.0.113.9"
_DO: Final = (
    "Compare `bitcoin-cli getbestblockhash` with another node and hold deposits until they agree. Add trusted nodes "
    "with `bitcoin-cli addnode HOST add`."
)
_RULES: Final = ("eclipse-new-table-group", "eclipse-outbound-replaced")
_TITLES: Final = ("Addresses of one netblock flood the new table", "Outbound peers are being lost and replaced")
_AFTER_S: Final = {name: 5_400.0 * number for number, name in enumerate(CASE_EVENT_TYPES)}
_CHANGE: Final[Mapping[str, Mapping[str, object]]] = {
    "case.severity": {"new_stages": ["outbound"]},
    "case.stage": {"new_stages": ["outbound"], "new_parties": [SECOND]},
    "case.merged": {"merged": "93b1f0a2c4d6e8f0", "new_parties": [SECOND]},
    "case.acknowledged": {"by": "anna", "text": "looking at it"},
}


def sample_body(type_: str, url: str = "") -> dict[str, object]:
    """Return the `data` object of a notice, one of `CASE_EVENT_TYPES`. url: of the page, without the case."""
    time = START + _AFTER_S[type_]
    over, first = type_ == "case.resolved", type_ == "case.opened"
    id_ = "6ed2cb2a8f0e1d3c"
    return {
        "id": id_,
        "node": "alice",
        "state": {"case.resolved": "resolved", "case.acknowledged": "acknowledged"}.get(type_, "open"),
        "severity": "warning" if first else "high",
        "opened": START,
        "updated": time,
        "resolved": time if over else None,
        "continues": None,
        "headline": _headline(first=first),
        "stages": ["poisoning"] if first else ["poisoning", "outbound"],
        "parties": _parties(firing=not over, first=first),
        "incidents": ["1b6f1f4d0c9a8e72"] if first else ["1b6f1f4d0c9a8e72", "b271aa0913cd55e0"],
        "notices": _notices(type_, time),
        "aliases": ["93b1f0a2c4d6e8f0"] if type_ == "case.merged" else [],
        "parties_beyond": 0,
        "notices_beyond": 0,
        "announced": ["192.0.0.0/16"],
        "acknowledged_by": "anna" if type_ == "case.acknowledged" else None,
        "related": [],
        "advice": _advice(first=first),
        "url": f"{url}/cases/{id_}" if url else None,
        "root": id_,
        "change": _change(type_, time, first=first),
    }


def sample_incident(type_: str, url: str = "") -> dict[str, object]:
    """Return the `data` object of a notice of an incident, of one of the types `EVENT_TYPES`; see `sample_body`."""
    over, taken = type_ == "incident.resolved", type_ == "incident.acknowledged"
    id_, time = "1b6f1f4d0c9a8e72", START + 300
    return {
        "id": id_,
        "rule": _RULES[0],
        "attack": "eclipse",
        "severity": "high" if type_ == "incident.escalated" else "warning",
        "state": "resolved" if over else "acknowledged" if taken else "open",
        "node": "alice",
        "key": {"netblock": ATTACKER},
        "opened": START,
        "updated": time,
        "resolved": time if over else None,
        "entities": [ATTACKER, *ADDRESSES],
        "summary": f"94 previously unseen addresses of {ATTACKER} entered the new table",
        "measures": {"addresses": 94},
        "findings": 3,
        "evidence": [],
        "completeness": 1.0,
        "watched": 1.0,
        "title": _TITLES[0],
        "maturity": "stable",
        "fingerprint": f"{id_}{id_}",
        "cleared": START + 240 if over else None,
        "acknowledged_by": "anna" if taken else None,
        "entities_beyond": 0,
        "peak": {"addresses": 94},
        "members": {"count": 1, "firing": 0 if over else 1, "beyond": 0, "listed": [{"netblock": ATTACKER}]},
        "changes": [{"time": START, "until": START, "reason": "opened", "text": "condition met", "count": 1}],
        "changes_beyond": 0,
        "url": f"{url}/incidents/{id_}" if url else None,
    }


def _change(type_: str, time: float, *, first: bool) -> dict[str, object]:
    return {
        "type": type_,
        "time": time,
        "reason": type_.removeprefix("case."),
        "severity": "warning" if first else "high",
        "parties": [ATTACKER] if first else [ATTACKER, SECOND],
        "new_stages": [],
        "new_parties": [],
        "merged": None,
        "by": None,
        "text": "",
        **_CHANGE.get(type_, {}),
    }


def _headline(*, first: bool) -> str:
    if first:
        return "Addresses of one netblock flood the new table"
    return "Eclipse (poisoning, outbound): Outbound peers are being lost and replaced (2 parties)"


def _parties(*, firing: bool, first: bool) -> list[dict[str, object]]:
    names = ((ATTACKER, ADDRESSES), *(() if first else ((SECOND, (SECOND,)),)))
    return [
        {
            "name": name,
            "addresses": list(addresses),
            "rules": list(_RULES[:1] if first else _RULES),
            "first": START,
            "last": START + 60,
            "firing": firing,
        }
        for name, addresses in names
    ]


def _notices(type_: str, time: float) -> list[dict[str, object]]:
    opened = {"time": START + 60, "reason": "opened", "severity": "warning", "parties": [ATTACKER]}
    if type_ == "case.opened":
        return [opened | {"time": time}]
    later = {"time": time, "reason": type_.removeprefix("case."), "severity": "high", "parties": [ATTACKER, SECOND]}
    return [opened, later]


def _advice(*, first: bool) -> dict[str, object]:
    seen = (
        (
            _RULES[0],
            _TITLES[0],
            f"94 previously unseen addresses of {ATTACKER} entered the new table",
            "warning",
            START,
        ),
        (_RULES[1], _TITLES[1], "3 outbound peers were lost and 3 replaced in 10m", "high", START + 5_000),
    )
    return {
        "do": [_DO],
        "runbook": "https://wiki.example.org/bitcoin/eclipse",
        "why": "" if first else "One attacker needs these steps together: poisoning, outbound.",
        "seen": [
            {
                "time": at,
                "rule": rule,
                "title": title,
                "text": text,
                "severity": severity,
                "parties": 1,
                "firing": True,
            }
            for rule, title, text, severity, at in seen[: 1 if first else 2]
        ],
        "seen_beyond": 0,
    }
