"""The list of cases in a real browser: order, filters, live changes, keyboard. Pictures land in build/pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.test_page import EDGES, LIVE, PICTURES, text, visit
from tests.e2e.test_page_tables import keep_picture
from tests.support.case_pages import eclipse_story, followed
from tests.support.case_story import PEER_A, PEER_B, CaseStory
from tests.support.chromium import NAMES, Tab
from tests.support.parts import program
from tests.support.web_view import TOKEN, StoredView
from watchdog.service.config.secret import Secret
from watchdog.service.config.settings import ApiSettings

pytestmark = [pytest.mark.chromium, pytest.mark.slow]
ROWS = "document.querySelectorAll('#cases li:not([hidden])').length"
STATES = "[...document.querySelectorAll('#cases li')].map((one) => one.dataset.state)"
READ = "document.getElementById('cases').ariaBusy === 'false'"
PEER_C = "84.19.3.7"


@pytest.fixture
def view(tmp_path: Path) -> StoredView:
    program(*NAMES)
    return StoredView(tmp_path)


def three_states(view: StoredView) -> CaseStory:
    """An open case, an acknowledged one that opened later, and a resolved one that opened last but one."""
    story = CaseStory(view.database)
    story.rig.say("ping-flood", [PEER_A], 0)
    story.rig.burst("inv-flood", [PEER_B], 20, 1)
    story.until(30)
    story.until(70)
    story.rig.say("headers-spam", [PEER_C], 71)
    story.until(75)
    late = max(story.rig.feed.book.pictures(), key=lambda one: one.life.opened_ns)
    story.rig.act(late.life.id, "ack", 76)
    story.until(78)
    story.keep()
    return story


async def choose(tab: Tab, name: str, value: str) -> None:
    field = f"document.forms['case-filters'].elements[{name!r}]"
    await tab.run(f"{field}.value = {value!r}; {field}.dispatchEvent(new Event('input', {{bubbles: true}}))")


def test_cases_that_need_people_come_first_and_filters_stay_in_the_address(view: StoredView) -> None:
    three_states(view)

    async def look(tab: Tab, url: str) -> None:
        await tab.open(url)
        await tab.until(LIVE)
        await tab.run("document.querySelector('.list[data-of=incidents] .hint a').click()")
        await tab.until(f"{ROWS} === 3")
        assert await tab.run("[location.pathname, document.title, document.activeElement.id]") == [
            "/cases",
            "Cases - watchdog",
            "cases",
        ]
        assert await tab.run("[...document.querySelectorAll('#views a')].map((one) => one.innerText)") == [
            "Cases",
            "Incidents",
            "Deliveries",
            "Rules",
        ]
        assert await tab.run("document.querySelector('#views [aria-current]').innerText") == "Cases"
        assert await tab.run(STATES) == ["open", "acknowledged", "resolved"]
        row = await text(tab, "#cases li")
        assert PEER_A in row
        assert "1 notice" in row
        assert "alice" in row
        await choose(tab, "state", "open,acknowledged")
        await tab.until(f"{ROWS} === 2")
        await choose(tab, "text", PEER_C)
        await tab.until(f"{ROWS} === 1")
        assert await tab.run("location.search") == f"?state=open%2Cacknowledged&text={PEER_C}"
        await tab.open(await tab.run("location.href"))
        await tab.until(f"{ROWS} === 1")
        await choose(tab, "severity", "critical")
        await tab.until("!document.getElementById('cases-empty').hidden")
        assert await text(tab, "#cases-empty") == "No case matches these filters."
        await tab.run("document.querySelector('#views a[href=\"/\"]').click()")
        await tab.until("document.body.dataset.view === 'list'")
        assert await tab.run("location.search") == "", "incidents have filters of their own"

    visit(view, look)


def test_pages_follow_from_one_state_to_the_next(view: StoredView) -> None:
    story = CaseStory(view.database)
    for number in range(60):
        story.rig.burst("ping-flood", [f"{60 + number}.7.0.1"], 60 * number, 1)
        story.until(60 * number + 40)
    story.rig.say("ping-flood", [PEER_A], 3600)
    story.until(3610)

    async def look(tab: Tab, url: str) -> None:
        await tab.open(f"{url}/cases")
        await tab.until(f"{READ} && {ROWS} >= 50")
        first = await tab.run(STATES)
        assert (first[0], set(first[1:])) == ("open", {"resolved"})
        await tab.run("document.getElementById('cases-more').click()")
        await tab.until(f"{ROWS} === 61 && document.getElementById('cases-more').hidden")

    visit(view, look)


def test_changes_arrive_without_a_reload_and_merged_cases_go(view: StoredView) -> None:
    story = CaseStory(view.database)

    async def look(tab: Tab, url: str) -> None:
        await tab.open(f"{url}/cases")
        await tab.until(f"{LIVE} && !document.getElementById('cases-empty').hidden")
        assert "nothing has looked like an attack" in await text(tab, "#cases-empty")
        await tab.run("window.same = true")
        followed(view, story)
        story.rig.say("ping-flood", [PEER_A], 0)
        story.until(2)
        await tab.until(f"{ROWS} === 1")
        assert "New case: warning" in await text(tab, "#news")
        story.rig.say("inv-flood", [PEER_B], 2)
        story.until(4)
        await tab.until(f"{ROWS} === 2")
        story.rig.say("headers-spam", [PEER_A], 10, key={"conn": "1"})
        story.rig.say("headers-spam", [PEER_B], 10, key={"conn": "2"})
        story.until(20)
        await tab.until(f"{ROWS} === 1")
        assert "2 notices" in await text(tab, "#cases li")
        (id_,) = [one.life.id for one in story.rig.feed.book.pictures()]
        await view.act_on_case(id_, "ack", "anna", "")
        await tab.until(f"{STATES}[0] === 'acknowledged'")
        assert await tab.run("window.same"), "the page must not have been loaded again"

    visit(view, look)


def test_an_empty_list_of_a_blind_service_is_no_good_news(view: StoredView) -> None:
    async def look(tab: Tab, url: str) -> None:
        view.facts = {"sources": [{"name": "log:debug.log", "state": "failing", "error": "no such file"}]}
        await tab.open(f"{url}/cases")
        await tab.until("document.getElementById('cases-empty').innerText.startsWith('Not monitoring')")

    visit(view, look)


def test_the_keyboard_reaches_a_case_and_what_can_be_done_with_it(view: StoredView) -> None:
    eclipse_story(view.database)

    async def reach(tab: Tab, selector: str) -> None:
        for _ in range(25):
            await tab.press("Tab")
            if await tab.run(f"document.activeElement.matches({selector!r})"):
                return
        raise AssertionError(f"no Tab leads to {selector}")

    async def look(tab: Tab, url: str) -> None:
        await tab.size(360, 780)
        await tab.open(f"{url}/cases")
        await tab.until(f"{ROWS} === 1")
        await reach(tab, "#cases a")
        await tab.press("Enter")
        await tab.until("document.querySelector('#detail h2')")
        assert await tab.run("document.activeElement.id") == "detail"
        assert await tab.run("getComputedStyle(document.querySelector('.list[data-of=cases]')).display") == "none"
        await reach(tab, ".acts button")
        assert await tab.run("document.activeElement.innerText") == "Acknowledge"
        await reach(tab, "#part-incidents ~ * td a")
        await tab.press("Enter")
        await tab.until("location.pathname.startsWith('/incidents/')")
        await tab.run("history.go(-2)")
        await tab.until("document.body.dataset.view === 'cases'")

    visit(view, look)


def test_a_service_that_asks_for_a_token_gets_it_from_the_form(view: StoredView) -> None:
    view.api = ApiSettings(host="0.0.0.0", token=Secret("test", TOKEN))
    story = eclipse_story(view.database)

    async def look(tab: Tab, url: str) -> None:
        await tab.open(f"{url}/cases/{story.case}")
        await tab.until("!document.getElementById('token-form').hidden")
        await tab.run(f"document.getElementById('token').value = {TOKEN!r}")
        await tab.run("document.getElementById('token-form').requestSubmit()")
        await tab.until(f"{ROWS} === 1 && document.querySelector('#detail h2') && {LIVE}")
        assert await tab.run("document.querySelector('.acts').elements.token.closest('label').hidden")
        assert all("401" in one for one in tab.complaints)
        tab.complaints.clear()

    visit(view, look)


def test_cases_are_readable_at_three_widths(view: StoredView) -> None:
    story = eclipse_story(view.database)
    story.rig.say("ping-flood", ["84.19.3.7"], 60)
    story.rig.burst("addr-pattern-2021", [f"{n}.7.0.1" for n in range(60, 100)], 62, severity="high")
    story.until(70)

    async def look(tab: Tab, url: str) -> None:
        await view.act_on_case(story.case, "ack", "anna", "asking the hoster")
        for width, dark in ((360, False), (360, True), (800, True), (1400, False), (1400, True)):
            await tab.size(width, 900, dark=dark)
            for name, path in (("cases", "/cases"), ("case", f"/cases/{story.case}")):
                await tab.open(url + path)
                drawn = "document.querySelector('#detail h2')" if name == "case" else f"{ROWS} >= 2"
                await tab.until(f"{LIVE} && {READ} && {drawn}")
                assert await tab.run(EDGES), f"{name} is wider than {width} px"
                scheme = "dark" if dark else "light"
                keep_picture(PICTURES / f"{name}-{width}-{scheme}.png", await tab.picture(whole=width < 1000))

    PICTURES.mkdir(parents=True, exist_ok=True)
    visit(view, look)
