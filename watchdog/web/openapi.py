"""The OpenAPI 3.1 document of the API, made from the same lists that the code uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alerts.store.incidents import STATES
from alerts.store.outbox import STATUSES
from watchdog.core.finding import ATTACKS, SEVERITIES
from watchdog.core.release import VERSION
from watchdog.web.openapi_schemas import SCHEMAS
from watchdog.web.parameters import LIMIT_DEFAULT, LIMIT_MOST
from watchdog.web.silences import STATES as SILENCE_STATES

JsonObject = Mapping[str, object]

_TEXT: JsonObject = {"type": "string"}
_LIMIT: JsonObject = {"type": "integer", "minimum": 1, "maximum": LIMIT_MOST, "default": LIMIT_DEFAULT}
_PROBLEM: JsonObject = {
    "description": "A problem document (RFC 9457)",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_LIST: Mapping[str, tuple[JsonObject, str]] = {
    "state": (
        {"type": "array", "items": {"enum": list(STATES)}},
        "States to list, separated by commas; all by default.",
    ),
    "severity": ({"enum": list(SEVERITIES)}, "The lowest severity to list: `high` lists high and critical."),
    "attack": ({"enum": list(ATTACKS)}, "The class of attack."),
    "node": (_TEXT, "The monitored node."),
    "since": (_TEXT, "Opened at or after this time: unix seconds or RFC 3339."),
}
_PAGING: Mapping[str, tuple[JsonObject, str]] = {
    "limit": (_LIMIT, "Rows per page."),
    "cursor": (_TEXT, "Start of the page: the `cursor` of the previous page."),
}
_DELIVERIES: Mapping[str, tuple[JsonObject, str]] = {
    "receiver": (_TEXT, "A receiver's name."),
    "status": ({"enum": list(STATUSES)}, "The status of the delivery."),
    "incident": (_TEXT, "An incident's id."),
    "case": (_TEXT, "A case's id, or that of a case merged into it."),
    "node": (_TEXT, "The monitored node."),
}
_SILENCES: Mapping[str, tuple[JsonObject, str]] = {
    "state": ({"enum": list(SILENCE_STATES)}, "`all` lists those that are over as well; `active` by default.")
}
_NODE: Mapping[str, tuple[JsonObject, str]] = {"node": (_TEXT, "One of the monitored nodes; all by default.")}


def openapi_document() -> dict[str, object]:
    """Return the document; a test holds it against routes and real answers."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bitcoin-watchdog",
            "version": VERSION,
            "description": "Incidents of monitored Bitcoin nodes. Times are unix seconds. Peers' strings are escaped.",
        },
        "paths": _paths(),
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths() -> dict[str, JsonObject]:
    incident = "/api/v1/incidents/{id}"
    return {
        "/api/v1/incidents": _get("List incidents, latest opened first", "IncidentPage", {**_LIST, **_PAGING}),
        incident: _get("Show one incident", "Incident", missing=True),
        f"{incident}/ack": _post("Acknowledge an incident", "Action", "Accepted", conflict=True),
        f"{incident}/resolve": _post("Resolve an incident", "Resolution", "Accepted", conflict=True),
        f"{incident}/notes": _post("Add a note to an incident", "Note", "Accepted", conflict=True),
        **_case_paths(),
        "/api/v1/deliveries": _get("List deliveries, newest first", "DeliveryPage", {**_DELIVERIES, **_PAGING}),
        "/api/v1/deliveries/{id}/resend": _post("Resend a notice under its id", "Nothing", "Resent", conflict=True),
        "/api/v1/silences": {
            **_get("List silences", "Silences", _SILENCES),
            **_post("Add a silence", "NewSilence", "OneSilence", path=(), success="201"),
        },
        "/api/v1/silences/{id}/expire": _post(
            "End a silence now", "ExpiredBy", "OneSilence", conflict=True, success="200"
        ),
        "/api/v1/cases/{id}/silences": _post("Silence a party of a case", "NewSilence", "OneSilence", success="201"),
        "/api/v1/events/stream": {"get": _stream()},
        "/api/v1/rules": _get(
            "List the rules in force, and the built-in findings (`own`)", "Rules", _NODE, missing=True
        ),
        "/api/v1/status": _get("Show facts about the service", "ServiceStatus", _NODE, missing=True),
        "/api/v1/nodes/{node}/peers": _get(
            "List the peers of a node, with what they send and get", "Peers", missing=True, path=("node",), strict=True
        ),
        "/api/v1/nodes/{node}/peers/{conn}/messages": _get(
            "Show the latest messages of a peer, and keep further ones for a minute",
            "PeerMessages",
            missing=True,
            path=("node", "conn"),
            strict=True,
        ),
        "/api/v1/openapi.json": _get("Show this document", "OpenApi"),
        "/healthz": _get("Check whether the service is alive", "Health", probe=True),
        "/readyz": _get("Check whether the service does its work", "Health", _NODE, missing=True, probe=True),
        "/metrics": {"get": _operation("Show metrics for Prometheus", {"text/plain": {"schema": _TEXT}})},
    }


def _case_paths() -> dict[str, JsonObject]:
    case = "/api/v1/cases/{id}"
    filters = {name: value for name, value in _LIST.items() if name != "attack"}
    return {
        "/api/v1/cases": _get("List cases, latest opened first", "CasePage", {**filters, **_PAGING}),
        case: _get("Show one case, by its id or that of a case merged into it", "Case", missing=True),
        f"{case}/ack": _post("Acknowledge a case as it is now", "Action", "CaseAccepted", conflict=True),
        f"{case}/resolve": _post("Resolve a case", "Action", "CaseAccepted", conflict=True),
        f"{case}/notes": _post("Add a note to a case", "Note", "CaseAccepted", conflict=True),
        f"{case}/split": _post("Move a party into a case of its own", "Split", "CaseAccepted", conflict=True),
        f"{case}/decisions": _get(
            "Show why each receiver was notified of a case, or was not",
            "CaseDecisions",
            {"receiver": (_TEXT, "A receiver's name.")},
            missing=True,
        ),
        "/api/v1/audit": _get("List who changed what, the latest first", "AuditPage", _PAGING),
    }


def _get(
    summary: str,
    schema: str,
    query: Mapping[str, tuple[JsonObject, str]] | None = None,
    *,
    missing: bool = False,
    probe: bool = False,
    path: Sequence[str] = ("id",),
    strict: bool = False,
) -> JsonObject:
    codes = (*(("400",) if strict else ()), *(("404",) if missing else ()))
    found = dict(_operation(summary, _json(schema), query, path=path if missing and not query else (), codes=codes))
    if probe:
        responses = {"200": _answer(_json(schema)), "503": _answer(_json(schema))}
        found |= {"security": [{}], "responses": responses | dict.fromkeys(("421", *codes), _PROBLEM)}
    return {"get": found}


def _post(
    summary: str,
    body: str,
    schema: str,
    *,
    conflict: bool = False,
    path: Sequence[str] = ("id",),
    success: str = "202",
) -> JsonObject:
    codes = ("400", "413", "415", *(("404",) if path else ()), *(("409",) if conflict else ()))
    found = dict(_operation(summary, _json(schema), path=path, codes=codes, success=success))
    found |= {
        "security": [{"token": []}],
        "requestBody": {"required": body in {"Note", "Split", "NewSilence"}, "content": _json(body)},
    }
    return {"post": found}


def _stream() -> JsonObject:
    description = (
        "Server-sent events `hello` (resumed: whether nothing was missed), `incident`, `case`, `delivery`, "
        "`deliveries` (many changed at once), `reload`, and `reset` (read the lists again). Send `Last-Event-ID` to "
        "resume a stream."
    )
    return {
        **_operation("Follow events live", {"text/event-stream": {"schema": _TEXT}}),
        "description": description,
        "parameters": [{"name": "Last-Event-ID", "in": "header", "required": False, "schema": _TEXT}],
    }


def _operation(
    summary: str,
    content: JsonObject,
    query: Mapping[str, tuple[JsonObject, str]] | None = None,
    *,
    path: Sequence[str] = (),
    codes: Sequence[str] = (),
    success: str = "200",
) -> JsonObject:
    """Return the parts that all operations share: 401 where reading needs the token, 421 for a foreign Host header."""
    parameters = [_parameter(name, schema, text) for name, (schema, text) in (query or {}).items()]
    parameters += [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in path]
    problems = sorted({"401", "403", "421", "500", "503", *codes, *(("400",) if query else ())})
    return {
        "summary": summary,
        "security": [{}, {"token": []}],
        "parameters": parameters,
        "responses": {success: _answer(content), **dict.fromkeys(problems, _PROBLEM)},
    }


def _parameter(name: str, schema: JsonObject, text: str) -> dict[str, object]:
    found = {"name": name, "in": "query", "required": False, "description": text, "schema": schema}
    return found | ({"style": "form", "explode": False} if schema.get("type") == "array" else {})


def _json(schema: str) -> dict[str, object]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _answer(content: JsonObject) -> dict[str, object]:
    return {"description": "Done", "content": content}
