"""The page of a case in a real browser: stages, parties, story, reasons, decisions, and what operators do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.test_page import EDGES, LIVE, text, visit
from tests.support.case_pages import (
    ECLIPSE_A,
    ECLIPSE_B,
    eclipse_story,
    followed,
    part_rows,
    rewrite_case,
)
from tests.support.case_rig import made_finding
from tests.support.case_story import PEER_A, TEAM, CaseStory, merged_cases
from tests.support.chromium import NAMES, Tab
from tests.support.parts import program
from tests.support.web_view import HOSTILE, TOKEN, StoredView, flood
from watchdog.web.openapi import openapi_document

pytestmark = [pytest.mark.chromium, pytest.mark.slow]
DRAWN = "document.querySelector('#detail h2')"
SAID = "document.querySelector('.acts .said').innerText"


@pytest.fixture
def view(tmp_path: Path) -> StoredView:
    program(*NAMES)
    return StoredView(tmp_path)


async def press(tab: Tab, label: str) -> None:
    """Press a button of the form by its label."""
    await tab.run(f"[...document.querySelectorAll('.acts button')].find((one) => one.innerText === {label!r}).click()")


async def fill(tab: Tab, **fields: str) -> None:
    for name, value in fields.items():
        await tab.run(f"document.querySelector('.acts').elements[{name!r}].value = {value!r}")


def test_the_link_of_a_notice_shows_who_was_notified_and_why_others_were_not(view: StoredView) -> None:
    lead = replace(TEAM, name="<b>lead</b>", severity="high", places={"severity": "watchdog.yaml:12"})
    story = CaseStory(view.database, TEAM, lead)
    story.rig.say("ping-flood", [PEER_A], 0)
    (change,) = story.until(4)

    async def look(tab: Tab, url: str) -> None:
        await tab.open(f"{url}/cases/{change.case_id}")
        await tab.until(DRAWN)
        rows = await part_rows(tab, "part-notices-to-receivers")
        assert "opened <b>lead</b> held back floor: warning is below severity: high (watchdog.yaml:12)" in rows[0]
        assert "opened team waiting" in rows[1]
        assert await tab.run(EDGES)
        await tab.run("document.querySelector('#detail a.back').click()")
        await tab.until("document.body.dataset.view === 'cases'")
        await tab.open(f"{url}/cases/0123456789abcdef")
        await tab.until("document.querySelector('#detail .empty').innerText.includes('0123456789abcdef')")
        assert [one for one in tab.complaints if "404" in one] == tab.complaints
        tab.complaints.clear()

    visit(view, look)


def test_a_case_shows_its_stages_its_parties_its_story_and_why_it_is_one(view: StoredView) -> None:
    story = eclipse_story(view.database)

    async def look(tab: Tab, url: str) -> None:
        await tab.open(f"{url}/cases/{story.case}")
        await tab.until(DRAWN)
        assert await text(tab, "#detail h2") == await tab.run("document.title.replace(' - watchdog', '')")
        strip = await tab.run("[...document.querySelectorAll('.strip li')].map((one) => one.innerText)")
        assert [one.split("\n")[0] for one in strip] == ["poisoning", "slots", "outbound", "view"]
        assert [one.endswith("not seen") for one in strip] == [True, False, False, True]
        assert "2026-02-02 02:40:00 UTC" in strip[1]
        assert "2026-02-02 02:45:00 UTC" in strip[2]
        parties = await part_rows(tab, "part-parties")
        assert [ECLIPSE_B in parties[0], ECLIPSE_A in parties[1]] == [True, True]
        assert ["fires" in one for one in parties] == [True, False], "those that fire come first"
        lines = await tab.run("[...document.querySelectorAll('.timeline li')].map((one) => one.innerText)")
        assert any("Notice: opened" in one and f"shown: {ECLIPSE_A}" in one for one in lines)
        incidents = await part_rows(tab, "part-incidents")
        assert len(incidents) == len(await tab.run("[...document.querySelectorAll('#part-incidents ~ * td a')]")) == 2
        why = await text(tab, "[data-part=part-why-it-is-one-case]")
        assert "steps of one eclipse" in why or "needs these steps together" in why

    visit(view, look)


def test_tables_of_a_case_fit_into_a_small_window_and_a_reason_of_three_claims_says_all(view: StoredView) -> None:
    story = CaseStory(view.database, TEAM)
    for rule in ("ping-flood", "inv-flood", "headers-spam"):
        story.rig.say(rule, [PEER_A], 0)
    story.until(4)
    story.keep()
    (case,) = [one["id"] for one in view.cases.latest()]

    async def look(tab: Tab, url: str) -> None:
        await tab.size(1280, 900)
        await tab.open(f"{url}/cases/{case}")
        await tab.until(DRAWN)
        reasons = await text(tab, "[data-part=part-why-it-is-one-case] .reasons")
        assert f"all name {PEER_A}:" in reasons
        tables = "[...document.querySelectorAll('#detail .scroll')]"
        assert await tab.run(f"{tables}.map((one) => one.scrollWidth - one.clientWidth)") == [0, 0, 0]

    visit(view, look)


def test_an_incident_leads_to_its_case_as_soon_as_it_has_one(view: StoredView) -> None:
    (incident,) = view.tell(flood(PEER_A, node="alice"))
    story = CaseStory(view.database, TEAM)
    finding = made_finding("ping-flood", [PEER_A], 0)
    story.rig.feed.take(finding.time_ns, incident, finding)

    async def look(tab: Tab, url: str) -> None:
        followed(view, story)
        await tab.open(f"{url}/incidents/{incident}")
        await tab.until(f"{DRAWN} && {LIVE}")
        assert await tab.run("document.querySelector('#detail .facts a')") is None
        (change,) = story.until(4)
        await tab.until("document.querySelector('#detail .facts a')")
        assert await text(tab, "#detail .facts a") == "Ping flood from one peer"
        await tab.run("document.querySelector('#detail .facts a').click()")
        await tab.until(f"document.body.dataset.view === 'case' && location.pathname === '/cases/{change.case_id}'")

    visit(view, look)


def test_the_address_of_a_merged_case_leads_to_the_one_that_it_is_part_of(view: StoredView) -> None:
    story = merged_cases(view.database)
    (kept,) = [one for one in view.cases.latest() if one["aliases"]]
    (alias,) = kept["aliases"]

    async def look(tab: Tab, url: str) -> None:
        await tab.open(f"{url}/cases/{alias}")
        await tab.until(f"location.pathname === '/cases/{kept['id']}' && {DRAWN}")
        assert f"Case {alias} was merged into this one." in await text(tab, "#detail")
        await tab.until(f"document.querySelector('#cases [aria-current]')?.dataset.id === {kept['id']!r}")
        await tab.until("document.querySelector('.timeline').innerText.includes('Merged')")

    visit(view, look)
    assert story.changes


def test_operators_act_on_a_case_with_the_token(view: StoredView) -> None:
    story = eclipse_story(view.database)

    async def look(tab: Tab, url: str) -> None:
        await tab.open(f"{url}/cases/{story.case}")
        await tab.until(f"{DRAWN} && {LIVE}")
        await fill(tab, who="anna", text="asking the hoster")
        await press(tab, "Acknowledge")
        await tab.until(f"{SAID}.includes('a token is needed')")
        assert await tab.run("document.activeElement.name") == "token"
        assert ["401" in one for one in tab.complaints] == [True]
        tab.complaints.clear()
        await fill(tab, token=TOKEN)
        await press(tab, "Acknowledge")
        await tab.until(f"{SAID} === 'Acknowledged.'")
        await tab.until("document.querySelector('#detail .badges').innerText.includes('acknowledged')")
        assert "Acknowledged by anna: asking the hoster" in await text(tab, ".timeline")
        await tab.until("document.querySelector('#cases li').innerText.includes('acknowledged')")
        await press(tab, "Add note")
        assert "A note needs a text" in await tab.run(SAID)
        await fill(tab, text="seen on bob too")
        await press(tab, "Add note")
        await tab.until("document.querySelector('.timeline').innerText.includes('Note by anna: seen on bob too')")
        await tab.run(f"document.querySelector('.acts').elements.party.value = {ECLIPSE_B!r}")
        await press(tab, "Split off")
        await tab.until(f"{SAID}.startsWith('Split off: its own case follows')")
        await tab.until("document.querySelector('.timeline').innerText.includes('Party split off by anna')")
        await press(tab, "Resolve")
        await tab.until("document.querySelector('#detail .badges').innerText.includes('resolved')")
        disabled = "[...document.querySelectorAll('.acts button:disabled')].map((one) => one.innerText)"
        assert await tab.run(disabled) == ["Acknowledge", "Resolve"]
        assert await tab.run("document.querySelector('.acts').elements.token.closest('label').hidden")

    visit(view, look)


def test_silences_are_offered_where_the_service_has_them(view: StoredView) -> None:
    story = eclipse_story(view.database)
    has_them = "/api/v1/cases/{id}/silences" in openapi_document()["paths"]  # type: ignore[operator]

    async def look(tab: Tab, url: str) -> None:
        await tab.open(f"{url}/cases/{story.case}")
        await tab.until(DRAWN)
        buttons = "[...document.querySelectorAll('.acts button')]"
        shown = f"{buttons}.some((one) => one.offsetHeight && one.innerText === 'Silence')"
        await tab.until(f"{shown} === {str(has_them).lower()}")
        if has_them:
            await fill(tab, token=TOKEN, text="our crawler")
            await press(tab, "Silence")
            await tab.until(f"{SAID} === 'Silenced.'")

    visit(view, look)


def test_what_is_typed_and_where_people_read_does_not_move_when_the_case_changes(view: StoredView) -> None:
    story = eclipse_story(view.database)

    async def look(tab: Tab, url: str) -> None:
        await tab.open(f"{url}/cases/{story.case}")
        await tab.until(f"{DRAWN} && {LIVE}")
        followed(view, story)
        await fill(tab, text="half a sent")
        await tab.run(
            "document.querySelector('.acts').elements.text.focus(); window.form = document.querySelector('.acts')"
        )
        top = "document.querySelector('.acts').getBoundingClientRect().top"
        before = await tab.run(top)
        story.rig.say("eclipse-stale-tip", [], 8, severity="warning")
        story.until(20)
        await tab.until("document.querySelector('.strip li:last-child').hasAttribute('data-entered')")
        await tab.until("document.querySelector('#detail .badges').innerText.includes('critical')")
        assert await tab.run("document.activeElement === window.form.elements.text && window.form.isConnected")
        assert await tab.run("window.form.elements.text.value") == "half a sent"
        assert await tab.run(f"Math.abs({top} - {before}) < 2"), "the form stays where it is"

    visit(view, look)


def test_hostile_strings_of_a_case_are_text(view: StoredView) -> None:
    story = eclipse_story(view.database)
    rewrite_case(view.database, story.case, HOSTILE)

    async def look(tab: Tab, url: str) -> None:
        await view.act_on_case(story.case, "note", HOSTILE, HOSTILE)
        for width in (1400, 360):
            await tab.size(width, 900)
            for path in ("/cases", f"/cases/{story.case}"):
                await tab.open(url + path)
                await tab.until("document.querySelector('#cases li')" if path == "/cases" else DRAWN)
                assert await tab.run("window.broken === undefined")
                assert await tab.run("document.querySelectorAll('main img, main script, main style').length") == 0
                assert not set("\x1b\u202e\u2066\u200b\x00") & set(await text(tab, "body"))
                assert await tab.run(EDGES), f"{path} is wider than {width} px"
        shown = await text(tab, "#detail")
        assert shown.count("<script>window.broken=1</script>") >= 7, "headline, party, text, link, note, who, receiver"
        assert await tab.run(
            "[...document.querySelectorAll('#detail a')].every((one) => one.protocol !== 'javascript:')"
        )

    visit(view, look)
