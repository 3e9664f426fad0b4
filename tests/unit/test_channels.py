"""Channels against local services that enforce the documented rules of the real ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from email import message_from_bytes
from typing import Any

import pytest
from aiohttp import web

from alerts.delivery.answers import Response
from alerts.delivery.courier import Courier
from alerts.delivery.encoding import TEST
from alerts.delivery.formats import ENCODERS, notice_bodies, signal_bodies
from alerts.delivery.message import Message
from alerts.delivery.ports import SystemDeliveryClock
from alerts.delivery.schedule import RetryDecision
from alerts.delivery.sender import Sender, send_test
from alerts.notice import Notice
from alerts.routing import FORMATS, Receiver
from tests.support.channels import (
    ALIAS,
    HOSTILE,
    ROOT,
    START_NS,
    PagerDuty,
    Service,
    case_body,
    case_notice,
    channel,
    hostile_notice,
    service,
    slack_api,
    slack_webhook,
    teams_flow,
    telegram_api,
)
from tests.support.delivery import MemoryOutbox, VirtualClock, running

KINDS = ("opened", "severity", "stage", "merged", "acknowledged", "resolved", "reopened")


async def sent(receiver: Receiver, *notices: Notice, kept: str = "") -> list[Response]:
    """What the service answers to each notice."""
    async with Courier() as courier:
        return [
            await courier.send(receiver, one.id, START_NS // 10**9, notice_bodies(one, receiver, START_NS, kept))
            for one in notices
        ]


def talk(rule: Any, receiver_of: Any, notices: Sequence[Notice], kept: str = "") -> tuple[Service, list[Response]]:
    """Send notices to a service."""

    async def story() -> tuple[Service, list[Response]]:
        async with service(rule) as there:
            return there, await sent(receiver_of(there.url), *notices, kept=kept)

    return asyncio.run(story())


def slack(url: str) -> Receiver:
    return channel("slack", url, token="xoxb-1", channel="C1")


def telegram(url: str) -> Receiver:
    return channel("telegram", url, token="12:abc", chat="-100", topic="7")


def pagerduty(url: str) -> Receiver:
    return channel("pagerduty", url, routing_key="R" * 32)


PLACES: dict[str, tuple[Any, Any]] = {
    "slack": (slack_api, slack),
    "slack-url": (slack_webhook, lambda url: channel("slack", url)),
    "telegram": (telegram_api, telegram),
    "pagerduty": (PagerDuty(), pagerduty),
    "teams": (teams_flow, lambda url: channel("teams", url)),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_service_takes_every_change_of_a_case_and_whatever_strangers_sent(name: str) -> None:
    notices = [case_notice(kind, number) for number, kind in enumerate(KINDS)] + [hostile_notice()]
    there, answers = talk(*PLACES[name], notices)
    assert [one.error for one in answers] == [""] * len(notices), there.refused
    assert len(there.accepted) >= len(notices)


@pytest.mark.parametrize("name", PLACES)
def test_a_test_message_is_taken(name: str) -> None:
    rule, receiver_of = PLACES[name]

    async def story() -> Response:
        async with service(rule) as there:
            return await send_test(receiver_of(there.url), SystemDeliveryClock())

    assert asyncio.run(story()).error == ""


def test_slack_threads_answer_the_first_message_and_loud_ones_show_in_the_channel() -> None:
    there, (first,) = talk(slack_api, slack, [case_notice()])
    assert "thread_ts" not in there.accepted[0]
    assert first.kept.startswith("1780.")
    there, _ = talk(slack_api, slack, [case_notice("stage"), case_notice("resolved")], first.kept)
    assert [one["thread_ts"] for one in there.accepted] == [first.kept] * 2
    assert [one["reply_broadcast"] for one in there.accepted] == [True, False]
    there, _ = talk(slack_webhook, lambda url: channel("slack", url), [case_notice("stage")], first.kept)
    assert "thread_ts" not in there.accepted[0], "an incoming webhook has no threads"


@pytest.mark.parametrize(
    ("answer", "meaning", "error", "after"),
    [
        ((200, '{"ok": false, "error": "channel_not_found"}'), "failed", "answered 200: channel_not_found", None),
        ((200, '{"ok": false, "error": "invalid_blocks"}'), "refused", "answered 200: invalid_blocks", None),
        ((200, "<html>log in</html>"), "failed", "answered 200 without Slack's 'ok'", None),
        ((429, '{"ok": false, "error": "ratelimited"}'), "failed", "answered 429: ratelimited", "30"),
        ((500, ""), None, "answered 500", None),
    ],
)
def test_slack_refuses_with_status_200_and_asks_for_patience_in_a_header(
    answer: tuple[int, str], meaning: str | None, error: str, after: str | None
) -> None:
    status, text = answer
    headers = {"Retry-After": after} if after else {}

    def rule(_: web.Request, __: Any) -> web.Response:
        return web.Response(status=status, text=text, headers=headers)

    _, (found,) = talk(rule, slack, [case_notice()])
    assert (found.meaning, found.error, found.retry_after) == (meaning, error, after)


@pytest.mark.parametrize(
    ("status", "answer", "meaning", "after"),
    [
        (429, {"ok": False, "description": "Too Many Requests", "parameters": {"retry_after": 17}}, "failed", "17"),
        (400, {"ok": False, "description": "Bad Request: chat not found"}, "failed", None),
        (400, {"ok": False, "description": "Bad Request: message is too long"}, "refused", None),
        (200, {"ok": False, "description": "odd"}, "failed", None),
        (200, {}, "failed", None),
    ],
)
def test_telegram_asks_for_patience_in_the_body(status: int, answer: Any, meaning: str, after: str | None) -> None:
    def rule(_: web.Request, __: Any) -> web.Response:
        return web.json_response(answer, status=status)

    _, (found,) = talk(rule, telegram, [case_notice()])
    assert (found.meaning, found.retry_after) == (meaning, after)
    assert found.error.startswith(f"answered {status}")
    assert "12:abc" not in found.error


def test_telegram_replies_to_the_first_message() -> None:
    there, (first,) = talk(telegram_api, telegram, [case_notice()])
    assert (first.kept, there.accepted[0]["message_thread_id"]) == ("41", 7)
    there, _ = talk(telegram_api, telegram, [case_notice("stage")], first.kept)
    assert there.accepted[0]["reply_parameters"] == {"message_id": 41, "allow_sending_without_reply": True}


def test_telegram_counts_utf_16_units() -> None:
    body = {"id": "a1b2", "node": "alice", "rule": "flood", "summary": "\U0001d54f" * 5_000}
    one = Notice("msg_1", "ops", "a1b2", "incident.opened", "high", START_NS, body)
    there, (answer,) = talk(telegram_api, telegram, [one])
    assert answer.error == ""
    assert there.accepted[0]["text"].count("…") >= 1


def test_pagerduty_follows_a_case_from_its_opening_over_a_merge_to_a_second_life() -> None:
    desk = PagerDuty()
    older = replace(case_notice(), case_id=ALIAS, body=case_body(root=ALIAS, id=ALIAS))
    talk(desk, pagerduty, [case_notice("opened"), older])
    assert desk.states() == [(ROOT, "triggered"), (ALIAS, "triggered")]
    talk(desk, pagerduty, [case_notice("merged"), case_notice("acknowledged")])
    assert desk.states() == [(ROOT, "acknowledged"), (ALIAS, "resolved")]
    assert desk.alerts[1]["events"][-1]["payload"]["summary"] == f"merged into {ROOT}"
    talk(desk, pagerduty, [case_notice("resolved"), case_notice("reopened")])
    assert desk.states() == [(ROOT, "resolved"), (ALIAS, "resolved"), (ROOT, "triggered")]
    again = desk.alerts[2]["events"][0]
    assert any(ROOT in link["text"] for link in again["links"]), "the new alert names the one before"
    assert again["payload"]["severity"] == "error"


@pytest.mark.parametrize("kind", ["severity", "stage", "reopened"])
def test_pagerduty_pages_again_for_more_than_was_acknowledged(kind: str) -> None:
    """PagerDuty is silent about a trigger for an acknowledged alert, so it needs a new one."""
    desk = PagerDuty()
    story = [{"reason": reason} for reason in ("opened", "acknowledged", "merged", kind)]
    grown = case_notice(kind)
    grown = replace(grown, body={**grown.body, "notices": story})
    talk(desk, pagerduty, [case_notice("opened"), case_notice("acknowledged"), grown])
    assert desk.states() == [(ROOT, "resolved"), (ROOT, "triggered")]
    later = replace(grown, body={**grown.body, "notices": [*story, {"reason": "stage"}]})
    talk(desk, pagerduty, [later])
    assert desk.states() == [(ROOT, "resolved"), (ROOT, "triggered")], "one new alert, not one for each notice"


def test_pagerduty_tells_a_bad_event_from_a_bad_key() -> None:
    _, (unknown,) = talk(PagerDuty(), lambda url: channel("pagerduty", url, routing_key="x"), [case_notice()])
    assert (unknown.status, unknown.meaning) == (400, RetryDecision.FAILED), "the key can be mended"

    def rule(_: web.Request, __: Any) -> web.Response:
        return web.json_response({"status": "invalid event", "errors": ["summary"]}, status=400)

    _, (bad,) = talk(rule, pagerduty, [case_notice()])
    assert bad.meaning is RetryDecision.REFUSED


def test_teams_reports_a_failure_in_the_text_of_a_200() -> None:
    def rule(_: web.Request, __: Any) -> web.Response:
        return web.Response(text="Webhook message delivery failed with error: Microsoft Teams endpoint returned 429")

    _, (found,) = talk(rule, lambda url: channel("teams", url), [case_notice()])
    assert found.meaning is RetryDecision.FAILED


def test_what_a_channel_keeps_reaches_later_notices_of_the_same_case_only() -> None:
    async def story() -> None:
        other = replace(case_notice("opened", 9), case_id="other", body=case_body(root="other", id="other"))
        notices = [replace(case_notice("opened", 1)), case_notice("stage", 2), other]
        clock, outbox = VirtualClock(), MemoryOutbox(*notices)
        async with service(slack_api) as there, running(Sender(outbox, [slack(there.url)], clock), clock):
            await clock.advance(20)
            outbox.add(case_notice("resolved", 3))
            await clock.advance(20)
        roots = [one.get("thread_ts") for one in there.accepted]
        assert (len(roots), roots.count(None)) == (4, 2), "each case begins one thread"
        assert len({one for one in roots if one}) == 1
        kept = [row.kept for row in outbox.rows.values()]
        assert outbox.fates() == ["sent"] * 4
        assert kept[0] == kept[1] != kept[2]
        assert kept[3] == "", "it came later: the sender remembers"

    asyncio.run(story())


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_lets_a_strangers_line_break_through(form: Any) -> None:
    own: dict[str, Any] = {"from": "a@example.org", "to": ("b@example.org",), "chat": "-1"}
    receiver = channel(form, "https://example.org/", **own)
    for raw in notice_bodies(hostile_notice(), receiver, START_NS):
        assert raw.isascii()
        assert form == "email" or not any(byte < 0x20 for byte in raw)
        if form == "email":
            mail = message_from_bytes(raw)
            assert (mail.get_all("To"), mail.get_all("From")) == (["b@example.org"], ["a@example.org"])
    for raw in signal_bodies(TEST, receiver, START_NS, {"receiver": "ops", "text": HOSTILE}):
        assert message_from_bytes(raw).get_all("To") in (["b@example.org"], None)


def test_a_template_cannot_break_the_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Message("one\r\nTo: x@y.z", ("body",), None)
    monkeypatch.setattr("alerts.delivery.message.message_of", lambda *_, **__: broken)
    own: dict[str, Any] = {"from": "a@example.org", "to": ("b@example.org",)}
    (raw,) = notice_bodies(case_notice(), channel("email", "", **own), START_NS)
    mail = message_from_bytes(raw)
    assert (mail["Subject"], mail.get_all("To")) == ("one To: x@y.z", ["b@example.org"])


def test_a_cloud_event_has_the_attributes_of_the_specification() -> None:
    receiver = channel("webhook", "https://example.org/", envelope="cloudevents")
    (raw,) = notice_bodies(case_notice(), receiver, START_NS)
    event = json.loads(raw)
    assert (event["specversion"], event["type"], event["subject"]) == ("1.0", "case.opened", ROOT)
    assert (event["id"], event["source"]) == (case_notice().id, "urn:bitcoin-watchdog:alice")
    assert event["data"] == case_body()
    assert ENCODERS["webhook"].headers(receiver)["Content-Type"].startswith("application/cloudevents+json")


def test_a_secret_never_reaches_an_error_or_the_representation_of_a_receiver() -> None:
    for name in ("telegram", "slack", "pagerduty"):
        receiver = PLACES[name][1]("http://127.0.0.1:1")
        (answer,) = asyncio.run(sent(receiver, case_notice()))
        assert answer.error
        for secret in ("12:abc", "xoxb-1", "R" * 32):
            assert secret not in answer.error
            assert secret not in repr(receiver)


def test_all_members_of_a_cluster_get_an_alert_and_one_that_takes_it_is_enough() -> None:
    async def story() -> None:
        def take(_: web.Request, __: Any) -> web.Response:
            return web.Response()

        async with service(take) as one, service(take) as other:
            receiver = replace(channel("alertmanager", one.url), urls=(one.url, "http://127.0.0.1:1", other.url))
            (answer,) = await sent(receiver, case_notice())
            assert (answer.status, answer.error) == (200, "")
            assert len(one.accepted) == len(other.accepted) == 1

    asyncio.run(story())
