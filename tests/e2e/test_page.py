"""The page in a real browser: what people see, live and under hostile strings. Pictures land in build/pictures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.chromium import NAMES, Tab, browser
from tests.support.parts import program
from tests.support.web_view import HOSTILE, SECOND, START_NS, TOKEN, Client, StoredView, flood, serving
from watchdog.service.config.secret import Secret
from watchdog.service.config.settings import ApiSettings

pytestmark = [pytest.mark.chromium, pytest.mark.slow]
PICTURES = Path(__file__).resolve().parents[2] / "build" / "pictures"
ROWS = "document.querySelectorAll('#incidents li:not([hidden])').length"
LIVE = "document.getElementById('connection').dataset.state === 'live'"
EDGES = "document.documentElement.scrollWidth <= window.innerWidth"
Visit = Callable[[Tab, str], Awaitable[None]]


@pytest.fixture
def view(tmp_path: Path) -> StoredView:
    program(*NAMES)
    return StoredView(tmp_path)


def visit(view: StoredView, what: Visit) -> None:
    """Drive a fresh browser; nothing may be complained of: no console error, no violation of the policy."""

    async def hold() -> None:
        async with serving(view) as client, browser() as tab:
            await tab.size(1400, 900)
            await what(tab, address(client))
            assert tab.complaints == []

    asyncio.run(hold())


def address(client: Client) -> str:
    return str(client.make_url("")).rstrip("/")


def recent(second: int) -> int:
    """Seconds from the support's start to this long before now, so that the page says minutes and not years."""
    return int(time.time()) - START_NS // SECOND - second


async def choose(tab: Tab, name: str, value: str) -> None:
    """Set a filter as a person does: the value, and then the event that the browser sends."""
    field = f"document.forms.filters.elements[{name!r}]"
    await tab.run(f"{field}.value = {value!r}; {field}.dispatchEvent(new Event('input', {{bubbles: true}}))")


async def text(tab: Tab, selector: str) -> str:
    return str(await tab.run(f"document.querySelector({selector!r}).innerText"))


def test_the_list_shows_incidents_and_news_arrives_without_a_reload(view: StoredView) -> None:
    view.tell(flood("10.0.0.1", recent(600), severity="high"))

    async def look(tab: Tab, url: str) -> None:
        await tab.open(url)
        await tab.until(f"{ROWS} === 1 && {LIVE}")
        await tab.until("document.getElementById('posture').innerText.includes('1 high')")
        await tab.run("window.same = true")
        view.tell(flood("10.0.0.2", recent(5), severity="critical"))
        await tab.until(f"{ROWS} === 2")
        assert "10.0.0.2" in await text(tab, "#incidents li:first-child")
        await tab.until("document.getElementById('posture').innerText.includes('1 critical')")
        assert await tab.run("window.same"), "the page must not have been loaded again"
        assert "New: critical" in await text(tab, "#news")

    visit(view, look)


def test_an_open_incident_follows_what_happens_to_it(view: StoredView) -> None:
    (id_,) = view.tell(flood("10.0.0.1", recent(600)))

    async def look(tab: Tab, url: str) -> None:
        await tab.open(f"{url}/incidents/{id_}")
        await tab.until(f"{LIVE} && document.querySelector('#detail .timeline')")
        assert "escalated" not in await text(tab, "#detail")
        view.tell(flood("10.0.0.1", recent(300), severity="critical"))
        await tab.until("document.querySelector('#detail .timeline').innerText.includes('warning to critical')")
        assert "critical" in await text(tab, "#incidents li")

    visit(view, look)


def test_small_changes_of_a_long_history_are_folded_until_asked_for(view: StoredView) -> None:
    group = {"netgroup": "10.0.0.0/16"}
    peer = ("10.0.0.1", "10.0.0.2")
    for number in range(12):  # joining and updating in turn, so that like steps do not become one entry
        first = flood(peer[number % 2], recent(7200 - 600 * number), incident=group, summary=f"step {number}")
        (id_,) = view.tell(first, flood(f"10.0.1.{number}", recent(7100 - 600 * number), incident=group))

    async def look(tab: Tab, url: str) -> None:
        seen = "[...document.querySelectorAll('.timeline li')].filter((one) => one.offsetHeight).length"
        await tab.open(f"{url}/incidents/{id_}")
        await tab.until(f"{LIVE} && document.querySelector('.unfold')")
        whole = await tab.run("document.querySelectorAll('.timeline li').length")
        assert whole > 12
        assert await tab.run(seen) == 4, "the opening and the latest three"
        await tab.run("document.querySelector('.unfold').focus(), document.querySelector('.unfold').click()")
        assert await tab.run(seen) == whole
        view.tell(flood("10.0.2.1", recent(1), incident=group))
        await tab.until("document.querySelector('#detail').innerText.includes('10.0.2.1')")
        assert await tab.run(f"{seen} === document.querySelectorAll('.timeline li').length"), "news fold nothing"
        assert await tab.run("document.activeElement.className") == "unfold", "nor do they take the focus away"

    visit(view, look)


def test_a_page_that_was_on_its_way_does_not_bring_back_what_was_before(view: StoredView) -> None:
    (id_,) = view.tell(flood("10.0.0.1", recent(600)))

    async def look(tab: Tab, url: str) -> None:
        await tab.open(url)
        await tab.until(f"{ROWS} === 1 && {LIVE} && document.getElementById('incidents').ariaBusy === 'false'")
        await tab.run("""window.real = fetch; window.held = null; window.fetch = async (path, options) => {
            const answer = await window.real(path, options);
            if (path.includes('incidents?')) await new Promise((go) => { window.held = go; });
            return answer; }""")
        await choose(tab, "severity", "warning")  # asks for a page, which is read now and arrives later
        await tab.until("window.held !== null")
        view.tell(flood("10.0.0.1", recent(300), severity="critical"))
        await tab.until("document.querySelector('#incidents').innerText.includes('critical')")
        await tab.run("window.held(), 0")
        await tab.until("document.getElementById('incidents').ariaBusy === 'false'")
        assert "critical" in await text(tab, f"#incidents a[data-id='{id_}']")

    visit(view, look)


def test_hostile_strings_are_text_in_list_and_incident(view: StoredView) -> None:
    event = flood().evidence[0]
    (id_,) = view.tell(
        flood(
            HOSTILE,
            recent(60),
            summary=f"agent {HOSTILE} seen",
            entities=(HOSTILE,),
            evidence=(type(event)(event.time_ns, "p2p:version", {"user_agent": HOSTILE * 3, HOSTILE: 1}),),
        )
    )

    async def look(tab: Tab, url: str) -> None:
        await view.act(id_, "note", HOSTILE, HOSTILE)
        for width in (1400, 360):
            await tab.size(width, 900)
            await tab.open(f"{url}/incidents/{id_}")
            await tab.until(f"{ROWS} <= 1 && document.querySelector('#detail .notes')")
            assert await tab.run("window.broken === undefined")
            assert await tab.run("document.querySelectorAll('main img, main script, main style').length") == 0
            assert not set("\x1b\u202e\u2066\u200b\x00") & set(await text(tab, "body"))
            assert "<script>window.broken=1</script>" in await text(tab, "#detail .summary")
            assert await tab.run("getComputedStyle(document.querySelector('#detail bdi')).unicodeBidi") == "isolate"
            assert await tab.run(EDGES), "long words must wrap"

    visit(view, look)


def test_what_operators_said_is_shown_and_their_click_does_not_make_it_last(view: StoredView) -> None:
    (id_,) = view.tell(flood("10.0.0.1", recent(7200)))

    async def look(tab: Tab, url: str) -> None:
        await view.act(id_, "ack", "ana", "asked the peer's owner")
        await tab.open(f"{url}/incidents/{id_}")
        await tab.until(f"{LIVE} && document.getElementById('lasted')?.innerText === 'still active'")
        assert "ack by ana\nasked the peer's owner" in await text(tab, "#detail .notes")
        view.facts = {"event_time": START_NS / 1e9 + recent(7200) + 300}
        view.hub.announce("reload", {"ok": True, "text": ""})
        await tab.until("document.getElementById('lasted').innerText === '5 min so far'")
        view.tell(flood("10.0.0.1", recent(6600), change="clear"))
        await tab.until("document.getElementById('lasted').innerText === '10 min'")

    visit(view, look)


def test_even_text_that_the_api_let_through_cannot_turn_its_neighbours(view: StoredView) -> None:
    view.tell(flood("10.0.0.1", recent(60)))

    async def look(tab: Tab, url: str) -> None:
        await tab.open(url)
        await tab.until(f"{ROWS} === 1")
        script = """import('/static/dom.js').then(({ el, foreign }) => {
            const line = el('p', {}, 'A', foreign('\\u202eB<b>'), 'C');
            document.body.append(line);
            const at = (node) => { const range = document.createRange(); range.selectNodeContents(node);
                return range.getBoundingClientRect().left; };
            return [at(line.childNodes[1]) < at(line.lastChild), line.querySelector('b') === null];
        })"""
        assert await tab.run(script) == [True, True]

    visit(view, look)


def test_filters_narrow_the_list_stay_in_the_address_and_pages_follow(view: StoredView) -> None:
    for number in range(70):
        severity = ("info", "high")[number % 2]
        view.tell(flood(f"10.0.0.{number}", recent(7200 - number), severity=severity))

    async def look(tab: Tab, url: str) -> None:
        await tab.open(url)
        await tab.until(f"{ROWS} === 50")
        await tab.run("document.getElementById('more').click()")
        await tab.until(f"{ROWS} === 70 && document.getElementById('more').hidden")
        assert "10.0.0.0 " in await text(tab, "#incidents li:last-child")
        await choose(tab, "severity", "high")
        await tab.until(f"{ROWS} === 35")
        await choose(tab, "text", "10.0.0.13 ")
        await tab.until(f"{ROWS} === 1")
        assert await tab.run("location.search") == "?severity=high&text=10.0.0.13"
        await tab.open(await tab.run("location.href"))
        await tab.until(f"{ROWS} === 1")
        await choose(tab, "text", "")
        await choose(tab, "state", "resolved")
        await tab.until("!document.getElementById('empty').hidden")
        assert await text(tab, "#empty") == "No incident matches these filters."
        view.tell(flood("10.9.9.9", recent(1), severity="critical"))
        await tab.until("document.getElementById('posture').innerText.includes('1 critical')")
        assert await tab.run(ROWS) == 0, "what the filter excludes does not come in live either"

    visit(view, look)


def test_the_keyboard_reaches_an_incident_and_back_returns_to_the_list(view: StoredView) -> None:
    view.tell(flood("10.0.0.1", recent(60)))

    async def look(tab: Tab, url: str) -> None:
        await tab.size(360, 780)
        await tab.open(url)
        await tab.until(f"{ROWS} === 1")
        for _ in range(15):
            await tab.press("Tab")
            if await tab.run("document.activeElement.matches('#incidents a')"):
                break
        await tab.press("Enter")
        await tab.until("document.querySelector('#detail h2')")
        assert await tab.run("document.activeElement.id") == "detail"
        assert await tab.run("getComputedStyle(document.querySelector('.list')).display") == "none"
        await tab.run("history.back()")
        await tab.until("document.body.dataset.view === 'list'")
        assert await tab.run("location.pathname") == "/"

    visit(view, look)


def test_an_empty_history_and_an_unknown_incident_say_so(view: StoredView) -> None:
    async def look(tab: Tab, url: str) -> None:
        await tab.open(url)
        await tab.until("!document.getElementById('empty').hidden")
        assert "No open incidents" in await text(tab, "#empty")
        await tab.until("document.getElementById('posture').innerText === 'no incident open'")
        assert tab.complaints == []
        await tab.open(f"{url}/incidents/{'0' * 16}")
        await tab.until("document.getElementById('detail').innerText.includes('no incident')")
        assert [one.startswith("network: Failed to load resource") for one in tab.complaints] == [True]
        tab.complaints.clear()  # the browser's own word on the 404

    visit(view, look)


def test_what_keeps_the_watchdog_from_seeing_is_told_in_the_head(view: StoredView) -> None:
    async def look(tab: Tab, url: str) -> None:
        await tab.open(url)
        await tab.until(f"{LIVE} && document.getElementById('posture').innerText === 'no incident open'")
        assert await tab.run("document.getElementById('trouble').hidden")
        failing = {"name": "log:debug.log", "state": "failing", "error": "no such file"}
        view.facts = {"lag_s": 300.5, "sources": [failing, {"name": "capture:x", "state": "open", "error": ""}]}
        view.hub.announce("reload", {"ok": True, "text": ""})
        await tab.until("!document.getElementById('trouble').hidden")
        assert await tab.run("document.getElementById('trouble').innerText.split('\\n')") == [
            "source log:debug.log fails: no such file",
            "events are 5 min behind",
        ]

    visit(view, look)


def test_a_page_of_a_service_that_sees_nothing_is_not_green(view: StoredView) -> None:
    failing = {"name": "log:debug.log", "state": "failing", "error": "no such file"}
    ended = {"name": "recording:a", "state": "ended", "error": ""}

    async def look(tab: Tab, url: str) -> None:
        view.facts = {"sources": [failing, ended]}
        await tab.open(url)
        await tab.until(f"{LIVE} && document.getElementById('posture').innerText === 'not monitoring'")
        assert await text(tab, "#connection") == "not monitoring"
        await tab.until("document.getElementById('empty').innerText.startsWith('Not monitoring: no source can be')")
        good = "getComputedStyle(document.documentElement).getPropertyValue('--good')"
        green = (
            f"(() => {{ const one = document.createElement('i'); one.style.color = {good}; document.body.append(one); "
        )
        green += "const found = getComputedStyle(one).color; one.remove(); return found; })()"
        assert await tab.run(f"getComputedStyle(document.querySelector('#posture .count')).color !== {green}")
        assert await tab.run(
            f"getComputedStyle(document.getElementById('connection'), '::before').backgroundColor !== {green}"
        )
        view.tell(flood("10.0.0.1", recent(5)))
        await tab.until("document.getElementById('posture').innerText.includes('1 warning')")
        assert "not monitoring" in await text(tab, "#posture")
        view.facts = {"sources": [ended, ended]}
        view.hub.announce("reload", {"ok": True, "text": ""})
        await tab.until("document.getElementById('connection').innerText === 'sources have ended'")
        view.facts = {"sources": [{**ended, "state": "open"}, ended]}
        view.hub.announce("reload", {"ok": True, "text": ""})
        await tab.until("document.getElementById('connection').innerText === 'live'")

    visit(view, look)


def test_a_service_that_asks_for_a_token_gets_it_from_the_form(tmp_path: Path, view: StoredView) -> None:
    view.api = ApiSettings(host="0.0.0.0", token=Secret("test", TOKEN))
    view.tell(flood("10.0.0.1", recent(60)))

    async def look(tab: Tab, url: str) -> None:
        await tab.open(url)
        await tab.until("!document.getElementById('token-form').hidden")
        assert await tab.run(ROWS) == 0
        await tab.run(f"document.getElementById('token').value = {TOKEN!r}")
        await tab.run("document.getElementById('token-form').requestSubmit()")
        await tab.until(f"{ROWS} === 1 && document.getElementById('token-form').hidden")
        await tab.until(LIVE)
        assert all("401" in one for one in tab.complaints)
        tab.complaints.clear()

    visit(view, look)


def test_a_service_that_goes_away_is_told_and_found_again(view: StoredView) -> None:
    view.tell(flood("10.0.0.1", recent(60)))

    async def hold() -> None:
        async with serving(view) as client, browser() as tab:
            await tab.open(address(client))
            await tab.until(f"{ROWS} === 1 && {LIVE}")
            view.hub.close()  # the streams end, as when the service stops
            await tab.until("document.getElementById('connection').dataset.state === 'waiting'")
            await tab.until(LIVE)
            view.tell(flood("10.0.0.2", recent(5)))
            await tab.until(f"{ROWS} === 2")

    asyncio.run(hold())


def test_it_is_readable_at_three_widths(view: StoredView) -> None:
    view.tell(flood("185.44.10.7", recent(86_400), attack="eclipse", severity="critical", rule="eclipse-slots"))
    for number in range(12):
        severity = "high" if number > 4 else "warning"
        group = {"netgroup": "217.94.0.0/16"}
        view.tell(
            flood(
                f"217.94.191.{number}", recent(900 - 60 * number), severity=severity, incident=group, completeness=0.97
            )
        )
    (id_,) = view.tell(flood("217.94.191.11", recent(30), incident={"netgroup": "217.94.0.0/16"}))
    pictures: dict[str, bytes] = {}

    async def look(tab: Tab, url: str) -> None:
        for width, dark in ((360, False), (800, True), (1400, False)):
            await tab.size(width, 900, dark=dark)
            for name, path in (("list", "/"), ("incident", f"/incidents/{id_}")):
                await tab.open(url + path)
                ready = "document.querySelector('#detail h2')" if name == "incident" else f"{ROWS} === 2"
                await tab.until(f"{LIVE} && {ready}")
                assert await tab.run(EDGES), f"{name} is wider than {width} px"
                pictures[f"{name}-{width}.png"] = await tab.picture(whole=width < 1000)

    visit(view, look)
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        assert picture.startswith(b"\x89PNG")
        (PICTURES / name).write_bytes(picture)
