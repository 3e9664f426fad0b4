"""Deliveries and rules of the page in a real browser. Pictures land in build/pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.test_page import EDGES, LIVE, PICTURES, recent, visit
from tests.support.chromium import NAMES, Tab, installed
from tests.support.event_loops import scenery
from tests.support.parts import lacking
from tests.support.web_view import HOSTILE, RULE, SECOND, StoredView, flood

pytestmark = [pytest.mark.chromium, pytest.mark.slow]
SENT = "document.querySelectorAll('#deliveries tbody tr').length"
RULES = "document.querySelectorAll('#rules tbody tr').length"
LONG = "Verylongwordwithoutanyspace" * 18


@pytest.fixture
def view(tmp_path: Path) -> StoredView:
    if installed() is None:
        lacking(f"none of {', '.join(NAMES)} is installed")
    return StoredView(tmp_path)


def fill(view: StoredView, count: int) -> Sequence[str]:
    """Store deliveries, newest first: a third sent, a few dead, some retried; return the ids."""
    view.now_ns += recent(0) * SECOND
    view.tell(*(flood(f"10.0.0.{n}", recent(7200 - n), severity=("warning", "critical")[n % 2]) for n in range(count)))
    ids = [row.notice.id for row in view.outbox.page(limit=1000).rows]
    for number, id_ in enumerate(ids):
        if number % 3 == 0:
            view.outbox.sent(id_, 204, view.now_ns)
        elif number % 7 == 1:
            view.outbox.dead(id_, "the receiver answers 415 Unsupported Media Type", view.now_ns, 415)
        elif number % 7 == 2:
            view.outbox.failed(id_, "no answer within 10 s", view.now_ns + 300 * SECOND)
    return ids


def many_rules(count: int) -> list[dict[str, object]]:
    more = {"maturity": "stable", "kinds": ["p2p:addr", "net:inbound_message"], "over_s": 600.0, "place": "mine.yaml"}
    return [{**RULE, **more, "id": f"rule-{n}", "title": f"Peer does thing {n}"} for n in range(count)]


def keep_picture(path: Path, picture: bytes) -> None:
    """Keep a screenshot for people to look at."""
    scenery(lambda: path.write_bytes(picture))


async def row(tab: Tab, id_: str) -> str:
    return str(await tab.run(f"document.querySelector('[data-delivery={id_}]').closest('tr').innerText"))


def test_deliveries_are_listed_in_pages_filtered_and_kept_as_they_are(view: StoredView) -> None:
    ids = fill(view, 70)

    async def look(tab: Tab, url: str) -> None:
        await tab.open(url)
        await tab.until(LIVE)
        await tab.run("document.querySelector('#views a[href=\"/deliveries\"]').click()")
        await tab.until(f"{SENT} === 50")
        assert await tab.run("[location.pathname, document.title]") == ["/deliveries", "Deliveries - watchdog"]
        assert await tab.run("document.activeElement.id") == "deliveries-title"
        await tab.run("document.getElementById('deliveries-more').click()")
        await tab.until(f"{SENT} === 70 && document.getElementById('deliveries-more').hidden")
        dead = [row.notice.id for row in scenery(lambda: view.outbox.page(status="dead", limit=100).rows)]
        assert "415 Unsupported Media Type" in await row(tab, dead[0])
        await tab.run("window.same = true")
        await view.resend(dead[0])
        await tab.until(
            f"document.querySelector('[data-delivery={dead[0]}]').closest('tr').innerText.includes('waiting')"
        )
        form = "document.forms['delivery-filters'].elements"
        change = "dispatchEvent(new Event('change', {bubbles: true}))"
        await tab.run(f"{form}.status.value = 'dead'; {form}.status.{change}")
        await tab.until(f"{SENT} === {len(dead) - 1}")
        assert await tab.run("location.search") == "?status=dead"
        await view.resend(dead[1])
        await tab.until(f"{SENT} === {len(dead) - 2}")
        view.hub.announce(
            "delivery", scenery(lambda: view.outbox.one(ids[0])).as_object()
        )  # sent: not what is asked for
        await tab.run(f"{form}.receiver.value = 'nobody'; {form}.receiver.{change}")
        await tab.until(
            "document.getElementById('deliveries-empty').innerText === 'No delivery matches these filters.'"
        )
        assert await tab.run("window.same"), "the page must not have been loaded again"
        await tab.open(f"{url}/deliveries?status=sent")
        await tab.until(f"{SENT} > 0")
        assert await tab.run(
            "document.querySelectorAll('#deliveries .badge[data-value=sent]').length"
        ) == await tab.run(SENT)
        await tab.run("document.querySelector('#deliveries a').click()")
        await tab.until("document.querySelector('#detail h2')")
        await tab.run("history.back()")
        await tab.until(f"document.body.dataset.view === 'deliveries' && {SENT} > 0")
        assert await tab.run("location.search") == "?status=sent"

    visit(view, look)


def test_what_is_tried_for_the_first_time_comes_to_the_top_without_a_reload(view: StoredView) -> None:
    fill(view, 3)

    async def look(tab: Tab, url: str) -> None:
        await tab.open(f"{url}/deliveries")
        await tab.until(f"{LIVE} && {SENT} === 3")
        view.now_ns += SECOND
        view.tell(flood("10.9.9.9", recent(1)))
        newest = scenery(lambda: view.outbox.page(limit=1).rows[0])
        scenery(lambda: view.outbox.sent(newest.notice.id, 204, view.now_ns))
        view.hub.announce("delivery", scenery(lambda: view.outbox.one(newest.notice.id)).as_object())
        await tab.until(f"{SENT} === 4")
        first = await tab.run("document.querySelector('#deliveries [data-delivery]').dataset.delivery")
        assert first == newest.notice.id
        assert "sent" in await row(tab, first)
        scenery(lambda: view.outbox.give_up(["chat"], "its receiver was removed from the configuration", view.now_ns))
        view.hub.announce("deliveries", {"receivers": ["chat"], "status": "dead"})
        await tab.until("document.querySelectorAll('#deliveries [data-value=waiting]').length === 0")
        assert "removed from the configuration" in str(await tab.run("document.getElementById('deliveries').innerText"))

    visit(view, look)


def test_deliveries_about_another_time_fit_a_window_of_1280_pixels(view: StoredView) -> None:
    """As in the demo: all incidents are of months ago, and most things happened to their notices."""
    view.now_ns += recent(0) * SECOND
    view.tell(*(flood(f"10.0.0.{n}", n) for n in range(4)))
    sent, dead, again, _ = (one.notice.id for one in view.outbox.page().rows)
    view.outbox.sent(sent, 204, view.now_ns)
    view.outbox.dead(dead, "its receiver was removed from the configuration", view.now_ns)
    view.outbox.failed(again, "answered 503", view.now_ns + 300 * SECOND, 503)

    async def look(tab: Tab, url: str) -> None:
        for width in (1280, 1440):
            await tab.size(width, 900)
            await tab.open(f"{url}/deliveries")
            await tab.until(f"{LIVE} && {SENT} === 4")
            keep_picture(PICTURES / f"deliveries-of-another-time-{width}.png", await tab.picture())
            place = "document.querySelector('#deliveries .scroll')"
            assert await tab.run(f"{place}.scrollWidth <= {place}.clientWidth"), "the last column is cut off"
            errors = "[...document.querySelectorAll('#deliveries .error')]"
            assert await tab.run(f"{errors}.length === 2 && {errors}.every((one) => one.getClientRects().length === 1)")

    PICTURES.mkdir(parents=True, exist_ok=True)
    visit(view, look)


def test_a_delivery_about_another_time_shows_both(view: StoredView) -> None:
    view.now_ns += recent(0) * SECOND
    view.tell(flood("10.0.0.1", 0), flood("10.0.0.2", recent(5)))
    old, new = sorted((one.notice.id for one in view.outbox.page().rows), key=lambda id_: view.outbox.one(id_).position)

    async def look(tab: Tab, url: str) -> None:
        await tab.open(f"{url}/deliveries")
        await tab.until(f"{LIVE} && {SENT} === 2")
        assert "of 2026-01-12 10:00:00 UTC" in await row(tab, old)
        assert " of 20" not in await row(tab, new)
        scenery(lambda: view.outbox.sent(old, 204, view.now_ns))
        view.hub.announce("delivery", scenery(lambda: view.outbox.one(old)).as_object())
        await tab.until("document.querySelector('#deliveries .badge[data-value=sent]')")
        assert "of 2026-01-12 10:00:00 UTC" in await row(tab, old), "news keep it"

    visit(view, look)


def test_rules_are_listed_some_at_a_time_and_found_by_words(view: StoredView) -> None:
    view.rule_list = list(many_rules(120))

    async def look(tab: Tab, url: str) -> None:
        await tab.open(f"{url}/rules")
        await tab.until(f"{RULES} === 50")
        assert "10 min" in str(await tab.run("document.querySelector('#rules tbody tr').innerText"))
        await tab.run("document.getElementById('rules-more').click()")
        await tab.until(f"{RULES} === 100")
        assert await tab.run("document.getElementById('rules-more').innerText") == "Show more (100 of 120)"
        text = "document.forms['rule-filters'].elements.text"
        await tab.run(f"{text}.value = 'thing 77'; {text}.dispatchEvent(new Event('input', {{bubbles: true}}))")
        await tab.until(f"{RULES} === 1 && document.getElementById('rules-more').hidden")
        view.rule_list = list(many_rules(10))
        view.hub.announce("reload", {"ok": True, "text": ""})
        await tab.until("document.getElementById('rules-empty').innerText === 'No rule matches this search.'")

    visit(view, look)


def test_names_of_kinds_keys_and_places_are_not_broken_within_the_word(view: StoredView) -> None:
    more = {"by": ("netgroup", "user_agent"), "kinds": ["net:inbound_message", "peer:disconnected"]}
    view.rule_list = [{**many_rules(1)[0], **more, "place": "node.yaml:570"}]

    async def look(tab: Tab, url: str) -> None:
        await tab.size(1280, 900)
        await tab.open(f"{url}/rules")
        await tab.until(f"{RULES} === 1")
        names = "[...document.querySelectorAll('#rules .words bdi')]"
        assert await tab.run(f"{names}.map((one) => one.innerText)") == [*more["kinds"], *more["by"], "node.yaml:570"]
        assert await tab.run(f"{names}.map((one) => one.getClientRects().length)") == [1] * 5
        assert await tab.run(
            "(() => { const one = document.querySelector('#rules .scroll'); "
            "return one.scrollWidth <= one.clientWidth; })()"
        ), "the table needs no scrolling"

    visit(view, look)


def test_hostile_and_endless_strings_stay_text_within_the_edges(view: StoredView) -> None:
    ids = fill(view, 2)
    view.outbox.resend(ids[1], view.now_ns)
    view.outbox.dead(ids[1], f"{HOSTILE} {LONG}", view.now_ns)
    view.rule_list = [{**many_rules(1)[0], "id": LONG, "title": HOSTILE + LONG, "kinds": [LONG], "place": HOSTILE * 9}]

    async def look(tab: Tab, url: str) -> None:
        for width, dark in ((1280, False), (400, True)):
            await tab.size(width, 900, dark=dark)
            for path, ready in (("deliveries", f"{SENT} === 2"), ("rules", f"{RULES} === 1")):
                await tab.open(f"{url}/{path}")
                await tab.until(ready)
                assert await tab.run("window.broken === undefined")
                assert await tab.run("document.querySelectorAll('main img, main script, main style').length") == 0
                assert not set("\x1b\u202e\u2066\u200b\x00") & set(str(await tab.run("document.body.innerText")))
                assert await tab.run(EDGES), f"{path} is wider than {width} px"
                picture = await tab.picture(whole=width < 1000)
                keep_picture(PICTURES / f"{path}-hostile-{width}.png", picture)
        assert "<script>window.broken=1</script>" in str(await tab.run("document.getElementById('rules').innerText"))

    PICTURES.mkdir(parents=True, exist_ok=True)
    visit(view, look)


@pytest.mark.parametrize("count", [0, 50])
def test_both_are_readable_narrow_and_wide_light_and_dark_empty_and_full(view: StoredView, count: int) -> None:
    fill(view, count)
    view.rule_list = list(many_rules(count))

    async def look(tab: Tab, url: str) -> None:
        for width in (400, 1280):
            for dark in (False, True):
                await tab.size(width, 900, dark=dark)
                for path, rows in (("deliveries", SENT), ("rules", RULES)):
                    await tab.open(f"{url}/{path}")
                    await tab.until(f"{LIVE} && {rows} === {count}")
                    await tab.until(f"document.getElementById('{path}-empty').hidden === {str(count > 0).lower()}")
                    assert await tab.run(EDGES), f"{path} is wider than {width} px"
                    picture = await tab.picture()
                    name = f"{path}-{count}-{width}-{'dark' if dark else 'light'}.png"
                    keep_picture(PICTURES / name, picture)

    PICTURES.mkdir(parents=True, exist_ok=True)
    visit(view, look)
