"""JSON Schemas of what the API answers and takes. Objects list all their fields; a test checks real answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from alerts.incident import Reason
from alerts.notice import NOTICE_TYPES
from alerts.store.actions import TEXT_LIMIT, VERBS, WHO_LIMIT
from alerts.store.incidents import STATES
from alerts.store.outbox import STATUSES
from watchdog.core.finding import ATTACKS, SEVERITIES, Maturity
from watchdog.service.capabilities import LACKS

Json = dict[str, object]

TEXT: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
TRUTH: Json = {"type": "boolean"}
TIME: Json = {"type": "number", "description": "Unix seconds"}
MAYBE_TIME: Json = {"type": ["number", "null"], "description": "Unix seconds, null until it occurs"}
MAYBE_TEXT: Json = {"type": ["string", "null"]}
ANYTHING: Json = {"type": "object"}
TEXTS: Json = {"type": "object", "additionalProperties": TEXT}
MEASURES: Json = {"type": "object", "additionalProperties": {"type": ["number", "null"]}}
CURSOR: Json = {"type": ["string", "null"], "description": "Where the next page starts, null at the end"}
SHARE: Json = {"type": "number", "minimum": 0, "maximum": 1}
MAYBE_SHARE: Json = {"type": ["number", "null"], "minimum": 0, "maximum": 1}


def listed(items: Json) -> Json:
    """Return an array."""
    return {"type": "array", "items": items}


def closed(fields: Mapping[str, Json], optional: Sequence[str] = ()) -> Json:
    """Return an object with exactly these fields."""
    required = [name for name in fields if name not in optional]
    return {"type": "object", "properties": dict(fields), "required": required, "additionalProperties": False}


def named(schema: str) -> Json:
    """Return a schema of this document."""
    return {"$ref": f"#/components/schemas/{schema}"}


_HEAD: Mapping[str, Json] = {
    "id": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
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
_DEED = closed({"id": COUNT, "action": {"enum": list(VERBS)}, "who": TEXT, "text": TEXT, "time": TIME})
_BY_SEVERITY = closed(dict.fromkeys(SEVERITIES, COUNT))
_WHO: Json = {"type": "string", "maxLength": WHO_LIMIT, "default": "api"}
_REASON: Json = {"type": "string", "maxLength": TEXT_LIMIT}

SCHEMAS: Mapping[str, Json] = {
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
            "notes": listed(_DEED),
            "actions": listed(_DEED),
            "deliveries": listed(named("Delivery")),
        }
    ),
    "Delivery": closed(
        {
            "id": {"type": "string", "pattern": "^(msg|mrg)_[0-9a-f]{32}$"},
            "receiver": TEXT,
            "incident": TEXT,
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
        }
    ),
    "DeliveryPage": closed({"deliveries": listed(named("Delivery")), "cursor": CURSOR}),
    "Action": closed({"who": _WHO, "text": _REASON}, optional=("who", "text")),
    "Note": closed({"who": _WHO, "text": {**_REASON, "minLength": 1}}, optional=("who",)),
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
