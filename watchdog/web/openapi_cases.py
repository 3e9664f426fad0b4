"""JSON Schemas of cases and of the audit, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping

from alerts.case.acts import CASE_VERBS
from alerts.case.change import DRILL
from alerts.case.links import STAGES
from alerts.case.notice import CaseReason
from alerts.case.story import STORY_KINDS
from alerts.store.actions import TEXT_LIMIT
from alerts.store.audit import AUDIT_ACTIONS
from alerts.store.case_acts import PARTY_LIMIT
from alerts.store.incidents import STATES
from watchdog.core.finding import SEVERITIES
from watchdog.web.openapi_parts import (
    ANYTHING,
    COUNT,
    CURSOR,
    MAYBE_TEXT,
    MAYBE_TIME,
    TEXT,
    TIME,
    TRUTH,
    WHO,
    Json,
    closed,
    listed,
    named,
)

ID: Json = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
SEVERITY: Json = {"enum": list(SEVERITIES)}
_PARTY = closed(
    {
        "name": {**TEXT, "description": "An address, else the netblock or host"},
        "addresses": listed(TEXT),
        "rules": listed(TEXT),
        "first": TIME,
        "last": TIME,
        "firing": TRUTH,
    }
)
_NOTICE = closed(
    {
        "time": TIME,
        "reason": {"enum": [one.value for one in CaseReason]},
        "severity": SEVERITY,
        "parties": listed(TEXT),
    }
)
_HEAD: Mapping[str, Json] = {
    "id": ID,
    "node": {**TEXT, "description": "`*` for a case of several nodes, or of none"},
    "state": {"enum": list(STATES)},
    "severity": SEVERITY,
    "opened": TIME,
    "updated": TIME,
    "resolved": MAYBE_TIME,
    "continues": MAYBE_TEXT,
    "headline": TEXT,
    "stages": listed({"enum": list(STAGES)}),
    "parties": listed(_PARTY),
    "incidents": listed(TEXT),
    "notices": listed(_NOTICE),
    "aliases": listed(ID),
    "parties_beyond": COUNT,
    "notices_beyond": COUNT,
    "announced": listed(TEXT),
    "acknowledged_by": MAYBE_TEXT,
    "related": listed(closed({"node": TEXT, "id": ID})),
    "attack": {**MAYBE_TEXT, "description": "The class of its first claim"},
    DRILL: {**TRUTH, "description": "Of a drill only, which tests the alerts: true"},
}
_CLAIM = closed(
    {
        "number": COUNT,
        "incident": TEXT,
        "rule": TEXT,
        "title": TEXT,
        "silenced": {**TEXT, "description": "Why it does not count; absent when it does"},
        "party": TEXT,
        "role": {"enum": ["core", "leaf", "witness"]},
        "severity": SEVERITY,
        "first": TIME,
        "last": TIME,
    },
    optional=("title", "silenced"),
)
_LINK = closed({"time": TIME, "claim": COUNT, "other": COUNT, "why": TEXT})
_STORY = closed(
    {
        "time": {**TIME, "description": "Event time; of what an operator did, the wall clock. Unix seconds"},
        "what": {"enum": list(STORY_KINDS)},
        "who": {**MAYBE_TEXT, "description": "The operator; null for what no operator did"},
        "text": TEXT,
    }
)
_SEEN = closed(
    {
        "time": TIME,
        "rule": TEXT,
        "title": TEXT,
        "text": TEXT,
        "severity": SEVERITY,
        "parties": COUNT,
        "firing": TRUTH,
    }
)
_ADVICE = closed({"do": listed(TEXT), "runbook": MAYBE_TEXT, "why": TEXT, "seen": listed(_SEEN), "seen_beyond": COUNT})
_ENTERED = closed(
    {
        "stage": {"enum": list(STAGES)},
        "time": {**MAYBE_TIME, "description": "Of its first claim, unix seconds; null for one of an earlier case"},
    }
)
_ENTRY = closed(
    {
        "id": COUNT,
        "time": TIME,
        "who": TEXT,
        "action": {"enum": list(AUDIT_ACTIONS)},
        "subject": TEXT,
        "detail": ANYTHING,
    }
)
_REASON: Json = {"type": "string", "maxLength": TEXT_LIMIT}

CASE_SCHEMAS: Mapping[str, Json] = {
    "CasePage": closed({"cases": listed(named("CaseHead")), "cursor": CURSOR}),
    "CaseHead": closed(_HEAD, optional=("attack", DRILL)),
    "Case": closed(
        {
            **_HEAD,
            "claims": listed(_CLAIM),
            "links": listed(_LINK),
            "not_joined": listed(closed({"time": TIME, "case": TEXT, "why": TEXT})),
            "split_off": listed(TEXT),
            "root": ID,
            "pending": {"anyOf": [closed({"reasons": listed(TEXT), "due": TIME}), {"type": "null"}]},
            "story": listed(_STORY),
            "story_beyond": COUNT,
            "advice": _ADVICE,
            "stages_entered": listed(_ENTERED),
        },
        optional=("attack", "advice", "stages_entered", DRILL),
    ),
    "Split": closed(
        {"who": WHO, "text": _REASON, "party": {"type": "string", "minLength": 1, "maxLength": PARTY_LIMIT}},
        optional=("who", "text"),
    ),
    "CaseAccepted": closed(
        {
            "case": {**ID, "description": "The case, also where the path named one that was merged into it"},
            "action": {"enum": list(CASE_VERBS)},
            "id": {**MAYBE_TEXT, "description": "Of the stored act; null when there was nothing to store"},
            "already": {**MAYBE_TEXT, "description": "What it was before, such as `resolved`; null after a change"},
        }
    ),
    "AuditPage": closed({"entries": listed(_ENTRY), "cursor": CURSOR}),
}
