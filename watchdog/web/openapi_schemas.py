"""JSON Schemas of what the API answers and takes. Objects list all their fields; a test checks real answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from alerts.case.notice import CaseReason
from alerts.decide import HeldReason
from alerts.incident import Reason
from alerts.notice import CASE_EVENT_TYPES, NOTICE_TYPES
from alerts.silence import COMMENT_LIMIT
from alerts.store.actions import TEXT_LIMIT, VERBS
from alerts.store.incidents import STATES
from alerts.store.outbox import STATUSES
from alerts.store.verdicts import VERDICTS
from watchdog.core.finding import ATTACKS, SEVERITIES, Maturity
from watchdog.service.capabilities import LACKS
from watchdog.web.openapi_cases import CASE_SCHEMAS, ID
from watchdog.web.openapi_parts import (
    ANYTHING,
    COUNT,
    CURSOR,
    MAYBE_SHARE,
    MAYBE_TEXT,
    MAYBE_TIME,
    MEASURES,
    SHARE,
    TEXT,
    TEXTS,
    TIME,
    TRUTH,
    WHO,
    Json,
    closed,
    listed,
    named,
)

_HEAD: Mapping[str, Json] = {
    "id": ID,
    "rule": TEXT,
    "attack": {"enum": list(ATTACKS)},
    "severity": {"enum": list(SEVERITIES)},
    "state": {"enum": list(STATES)},
    "node": TEXT,
    "key": TEXTS,
    "opened": TIME,
    "updated": TIME,
    "resolved": MAYBE_TIME,
    "entities": listed(TEXT),
    "entities_beyond": COUNT,
    "summary": TEXT,
    "findings": COUNT,
    "completeness": SHARE,
    "watched": MAYBE_SHARE,
    "title": TEXT,
    "maturity": {"enum": [*get_args(Maturity), None]},
    "acknowledged_by": MAYBE_TEXT,
}
_MEMBERS = closed({"count": COUNT, "firing": COUNT, "beyond": COUNT, "listed": listed(TEXTS)})
_EVENT = closed({"time": TIME, "kind": TEXT, "fields": ANYTHING})
_STEP = closed(
    {"time": TIME, "until": TIME, "reason": {"enum": [one.value for one in Reason]}, "text": TEXT, "count": COUNT}
)
_VERDICT: Json = {"enum": list(VERDICTS)}
_DEED = closed(
    {
        "id": COUNT,
        "action": {"enum": list(VERBS)},
        "who": TEXT,
        "text": TEXT,
        "time": TIME,
        "verdict": {"enum": [*VERDICTS, None]},
    }
)
_JUDGEMENT: Json = {"anyOf": [closed({"verdict": _VERDICT, "who": TEXT, "time": TIME}), {"type": "null"}]}
_MAYBE_NUMBER: Json = {"type": ["number", "null"]}
_BY_TYPE: Json = {
    "type": "object",
    "description": "By message type; `other` for those that Core does not know",
    "additionalProperties": closed(
        {"count": COUNT, "bytes": COUNT, "per_s": {"type": "number", "description": "Lately, as of the latest event"}}
    ),
}
_NODE_STATE = closed(
    dict.fromkeys(
        (
            "blocks", "headers", "tip_age_s", "mempool_transactions", "mempool_bytes", "uptime_s", "addresses_new",
            "addresses_tried",
        ),
        _MAYBE_NUMBER,
    )
)  # fmt: skip
_PEER = closed(
    {
        "conn": {"type": ["integer", "null"], "description": "Number of the connection by the source of its messages"},
        "peer": TEXT,
        "network": TEXT,
        "direction": TEXT,
        "connection_type": TEXT,
        "asn": {"type": ["integer", "null"]},
        "age_s": _MAYBE_NUMBER,
        "user_agent": MAYBE_TEXT,
        "ping_s": _MAYBE_NUMBER,
        "min_ping_s": _MAYBE_NUMBER,
        "addresses": {**_MAYBE_NUMBER, "description": "Addresses that the node took from it"},
        "addresses_dropped": {**_MAYBE_NUMBER, "description": "Addresses beyond Core's rate limit"},
        "polled": MAYBE_TIME,
        "messages": {"anyOf": [closed({"received": _BY_TYPE, "sent": _BY_TYPE}), {"type": "null"}]},
    }
)
_MESSAGE = closed({"time": TIME, "flow": {"enum": ["received", "sent"]}, "type": TEXT, "size": COUNT})
_RECORDED = closed(
    {
        "path": {**TEXT, "description": "Events file on the machine of the service, see RECORDER.md"},
        "from": TIME,
        "to": TIME,
        "size": COUNT,
    }
)
_BY_SEVERITY = closed(dict.fromkeys(SEVERITIES, COUNT))
_REASON: Json = {"type": "string", "maxLength": TEXT_LIMIT}

SILENCE: Json = closed(
    {
        "id": {**TEXT, "description": "A number, or `file:` and digits for one of the configuration"},
        "state": {"enum": ["active", "expired", "over"]},
        **dict.fromkeys(("party", "rule", "technique", "node"), MAYBE_TEXT),
        "from": TIME,
        "until": TIME,
        "author": TEXT,
        "comment": TEXT,
        "changed_by": {**MAYBE_TEXT, "description": "Who extended or expired it last"},
        "expired": MAYBE_TIME,
        "place": {**MAYBE_TEXT, "description": "Its line in the configuration"},
    }
)
NEW_SILENCE: Json = closed(
    {
        **{name: {**MAYBE_TEXT, "maxLength": 100} for name in ("party", "rule", "technique", "node", "for")},
        "until": {"type": ["number", "string"], "description": "Unix seconds or RFC 3339, in place of `for`"},
        "who": WHO,
        "comment": {**TEXT, "minLength": 1, "maxLength": COMMENT_LIMIT},
    },
    optional=("party", "rule", "technique", "node", "for", "until", "who"),
)
SCHEMAS: Mapping[str, Json] = {
    **CASE_SCHEMAS,
    "IncidentPage": closed({"incidents": listed(named("IncidentHead")), "cursor": CURSOR}),
    "IncidentHead": closed({**_HEAD, "members": closed({"count": COUNT, "firing": COUNT})}),
    "Incident": closed(
        {
            **_HEAD,
            "members": _MEMBERS,
            "measures": MEASURES,
            "peak": MEASURES,
            "evidence": listed(_EVENT),
            "fingerprint": TEXT,
            "cleared": MAYBE_TIME,
            "changes": listed(_STEP),
            "changes_beyond": COUNT,
            "verdict": _JUDGEMENT,
            "notes": listed(_DEED),
            "actions": listed(_DEED),
            "deliveries": listed(named("Delivery")),
            "recordings": listed(_RECORDED),
            "cases": listed(closed({"id": ID, "headline": TEXT})),
        }
    ),
    "Delivery": closed(
        {
            "id": {"type": "string", "pattern": "^(msg|mrg)_[0-9a-f]{32}$"},
            "receiver": TEXT,
            "incident": {**MAYBE_TEXT, "description": "Null when it is about a case"},
            "incident_opened": {**MAYBE_TIME, "description": "Event time in unix seconds, null when it is not kept"},
            "type": {"enum": list(NOTICE_TYPES)},
            "severity": {"enum": list(SEVERITIES)},
            "status": {"enum": list(STATUSES)},
            "attempts": COUNT,
            "created": TIME,
            "next": MAYBE_TIME,
            "settled": MAYBE_TIME,
            "last_status": {"type": ["integer", "null"]},
            "last_error": MAYBE_TEXT,
            "merged_into": {**MAYBE_TEXT, "description": "Id of the delivery that names this opening in its place"},
            "case": {**MAYBE_TEXT, "description": "The case's id in its first notice; null when about an incident"},
        }
    ),
    "CaseDecision": closed(
        {
            "time": {**TIME, "description": "Event time of the change, unix seconds"},
            "decided": {**TIME, "description": "Wall clock, unix seconds"},
            "type": {"enum": list(CASE_EVENT_TYPES)},
            "number": {**COUNT, "description": "Counts the notices of `root`; what one notice reports has one number"},
            "root": {**TEXT, "description": "The case's id in its first notice"},
            "receiver": TEXT,
            "decision": {"enum": ["sent", "held"]},
            "reason": {"enum": [*(one.value for one in HeldReason), None]},
            "detail": TEXT,
            "place": {**TEXT, "description": "In the configuration, such as `watchdog.yaml:12`; empty without one"},
            "delivery": {**MAYBE_TEXT, "description": "Id of the delivery; null when it was held back"},
            "status": {"enum": [*STATUSES, None]},
            "settled": MAYBE_TIME,
            "error": MAYBE_TEXT,
        }
    ),
    "CaseDecisions": closed(
        {
            "case": TEXT,
            "root": TEXT,
            "decisions": listed(named("CaseDecision")),
            "pending": {
                "description": "What waits for the end of an interval; `due` in event time, unix seconds",
                "oneOf": [
                    {"type": "null"},
                    closed({"reasons": listed({"enum": [one.value for one in CaseReason]}), "due": TIME}),
                ],
            },
        }
    ),
    "DeliveryPage": closed({"deliveries": listed(named("Delivery")), "cursor": CURSOR}),
    "Action": closed({"who": WHO, "text": _REASON}, optional=("who", "text")),
    "Resolution": closed({"who": WHO, "text": _REASON, "verdict": _VERDICT}, optional=("who", "text", "verdict")),
    "Note": closed({"who": WHO, "text": {**_REASON, "minLength": 1}}, optional=("who",)),
    "Silence": SILENCE,
    "Silences": closed({"silences": listed(named("Silence"))}),
    "OneSilence": closed({"silence": named("Silence")}),
    "NewSilence": NEW_SILENCE,
    "ExpiredBy": closed({"who": WHO}, optional=("who",)),
    "Nothing": closed({}),
    "Accepted": closed(
        {
            "incident": TEXT,
            "action": {"enum": list(VERBS)},
            "id": {**MAYBE_TEXT, "description": "Of the stored action; null when there was nothing to store"},
            "already": {
                **MAYBE_TEXT,
                "description": "What it was before, such as `resolved`; null after a change",
            },
        }
    ),
    "Resent": closed({"id": TEXT, "status": {"const": "waiting"}}),
    "Rules": closed(
        {
            "rules": listed(
                {
                    "type": "object",
                    "required": ["id", "title", "attack", "severity"],
                    "properties": {
                        "can_fire": {
                            "enum": [True, False, "unknown"],
                            "description": "Whether the sources can make it fire",
                        },
                        "detectors": {
                            "type": "array",
                            "items": {"type": "object", "required": ["node", "name", "budget", "threshold"]},
                            "description": "What its detectors with a budget have learnt, by node",
                        },
                        "lacks": {
                            "type": "array",
                            "items": {"enum": list(LACKS)},
                            "description": "What has to be added; where one of several would do, all of these",
                        },
                    },
                }
            ),
            "own": listed({"type": "object", "required": ["id", "title", "attack", "severity", "about"]}),
        }
    ),
    "ServiceStatus": closed(
        {
            "service": {"type": "object", "required": ["node", "version"]},
            "incidents": closed({"open": _BY_SEVERITY, "acknowledged": _BY_SEVERITY}),
            "receivers": listed({"type": "object", "required": ["name"]}),
        }
    ),
    "Peers": closed(
        {
            "node": TEXT,
            "time": {**MAYBE_TIME, "description": "Latest event about a peer, unix seconds; null before any"},
            "state": _NODE_STATE,
            "peers": listed(_PEER),
            "peers_beyond": {**COUNT, "description": "Peers that gave way to others, for want of room"},
        }
    ),
    "PeerMessages": closed(
        {
            "node": TEXT,
            "conn": {"type": "integer"},
            "peer": TEXT,
            "connection_type": TEXT,
            "watched": {**TRUTH, "description": "Whether messages were kept before this request"},
            "kept_s": {"type": "number", "description": "For how long further messages are kept"},
            "messages": listed(_MESSAGE),
        }
    ),
    "Health": closed(
        {"ok": TRUTH, "checks": listed(closed({"name": TEXT, "ok": TRUTH, "text": TEXT}))}, optional=("checks",)
    ),
    "OpenApi": {"type": "object", "required": ["openapi", "info", "paths"]},
    "Problem": closed(
        {
            "type": TEXT,
            "title": TEXT,
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "detail": TEXT,
            "instance": TEXT,
            "errors": listed(closed({"parameter": TEXT, "detail": TEXT})),
        },
        optional=("errors",),
    ),
}
