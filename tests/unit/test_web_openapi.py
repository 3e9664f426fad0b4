"""The OpenAPI document against the routes and against real answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.support.tapped import message, peer, rows
from tests.support.web_view import AUTHORIZED, HOSTILE, START_NS, Client, StoredView, flood, serving
from watchdog.web.app import make_app
from watchdog.web.deliveries import KNOWN as DELIVERY_PARAMETERS
from watchdog.web.incidents import KNOWN as INCIDENT_PARAMETERS
from watchdog.web.openapi import openapi_document

NOT_API = {"/", "/incidents/{id}", "/cases", "/cases/{id}", "/deliveries", "/rules", "/static/{name}"}
Document = dict[str, Any]  # Any: JSON


def operations(document: Document) -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


def test_every_route_is_described_and_everything_described_is_a_route(tmp_path: Path) -> None:
    view = StoredView(tmp_path)
    routes = {
        (route.method, route.resource.canonical)
        for route in make_app(view).router.routes()
        if route.resource is not None and route.method != "HEAD" and route.resource.canonical not in NOT_API
    }
    assert operations(openapi_document()) == routes
    view.database.close()


def test_the_paths_are_those_of_the_contract() -> None:
    assert {
        ("GET", "/api/v1/incidents"),
        ("GET", "/api/v1/incidents/{id}"),
        ("POST", "/api/v1/incidents/{id}/ack"),
        ("POST", "/api/v1/incidents/{id}/resolve"),
        ("POST", "/api/v1/incidents/{id}/notes"),
        ("GET", "/api/v1/deliveries"),
        ("POST", "/api/v1/deliveries/{id}/resend"),
        ("GET", "/api/v1/events/stream"),
        ("GET", "/api/v1/rules"),
    } <= operations(openapi_document())


@pytest.mark.parametrize(
    ("path", "known"), [("/api/v1/incidents", INCIDENT_PARAMETERS), ("/api/v1/deliveries", DELIVERY_PARAMETERS)]
)
def test_the_described_parameters_are_those_that_are_read(path: str, known: tuple[str, ...]) -> None:
    document: Document = openapi_document()
    assert [one["name"] for one in document["paths"][path]["get"]["parameters"]] == list(known)


def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    document: Document = openapi_document()
    schemas = document["components"]["schemas"]
    used: set[str] = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                used.add(value["$ref"].removeprefix("#/components/schemas/"))
            for one in value.values():
                walk(one)
        elif isinstance(value, list):
            for one in value:
                walk(one)

    walk(document)
    assert used == set(schemas)
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)


async def check(client: Client, method: str, path: str, template: str, body: object = None) -> None:
    """Ask, and hold the answer against the document; headers and body too."""
    document: Document = openapi_document()
    answer = await client.request(method, path, json=body, headers=AUTHORIZED)
    described = document["paths"][template][method.lower()]["responses"]
    assert str(answer.status) in described, f"{method} {path} answers {answer.status}, which is not described"
    content = described[str(answer.status)]["content"]
    assert answer.content_type in content
    if not answer.content_type.endswith("json"):
        return
    schema = {**content[answer.content_type]["schema"], "components": document["components"]}
    jsonschema.validate(await answer.json(), schema, cls=jsonschema.Draft202012Validator)


def test_real_answers_are_as_described(tmp_path: Path) -> None:
    view = StoredView(tmp_path)
    (id_,) = view.tell(flood(), flood(second=60, severity="high", summary=HOSTILE, measures={"x": float("inf")}))
    view.outbox.dead(view.outbox.page().rows[0].notice.id, "HTTP 410", START_NS, 410)
    delivery = view.outbox.page().rows[0].notice.id
    received = message(0, "inv", 37, peer(7))
    view.traffic.note([rows("net:inbound_message", received), rows("rpc:peer", {"at": 1, **peer(7)})], 0.0)
    one = "/api/v1/incidents/{id}"

    async def conversation() -> None:
        async with serving(view) as client:
            for verb, template in (("ack", f"{one}/ack"), ("resolve", f"{one}/resolve"), ("notes", f"{one}/notes")):
                await check(client, "POST", f"/api/v1/incidents/{id_}/{verb}", template, {"who": "a", "text": "b"})
                await check(client, "POST", f"/api/v1/incidents/{id_}/{verb}", template, {"whom": 1})
            await check(client, "POST", f"/api/v1/incidents/{id_}/ack", f"{one}/ack", {})
            resend = "/api/v1/deliveries/{id}/resend"
            await check(client, "POST", f"/api/v1/deliveries/{delivery}/resend", resend, {})
            await check(client, "GET", f"/api/v1/incidents/{id_}", one)
            await check(client, "GET", f"/api/v1/incidents/{'0' * 16}", one)
            for path in ("/api/v1/incidents", "/api/v1/deliveries"):
                await check(client, "GET", f"{path}?limit=1", path)
                await check(client, "GET", f"{path}?limit=x", path)
            for path in ("rules", "status", "openapi.json"):
                await check(client, "GET", f"/api/v1/{path}", f"/api/v1/{path}")
            peers = "/api/v1/nodes/{node}/peers"
            for node, conn in (("node-1", "7"), ("node-1", "9"), ("other", "7")):
                await check(client, "GET", peers.replace("{node}", node), peers)
                messages = peers.replace("{node}", node) + f"/{conn}/messages"
                await check(client, "GET", messages, f"{peers}/{{conn}}/messages")
            await check(client, "GET", f"{peers.replace('{node}', 'node-1')}?x=1", peers)
            for path in ("/healthz", "/readyz", "/metrics"):
                await check(client, "GET", path, path)

    asyncio.run(conversation())
