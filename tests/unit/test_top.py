"""`watchdog top` with Textual's pilot over the real API and over sources, and its table for a pipe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from tests.support.tapped import message, peer, rows, written
from tests.support.waiting import LIMIT_S
from tests.support.web_view import HOSTILE, TOKEN, StoredView, flood, serving
from watchdog.cli.main import main
from watchdog.service.config.secret import Secret
from watchdog.service.config.settings import ApiSettings
from watchdog.top.api_reader import ApiReader
from watchdog.top.app import PeerList, TopApp
from watchdog.top.facts import Amount, FactReader, NodeLook, ShownIncident, ShownNode, ShownPeer, TopError
from watchdog.top.peer_screen import PeerScreen
from watchdog.top.source_reader import SourceReader
from watchdog.top.wording import COLUMNS, amount, busiest_types, cut, peer_cells, ping, plain_table, rate, span

DEMO = Path(__file__).parents[2] / "demo" / "recording"
NARROW = (80, 24)
Story = Callable[[TopApp, Pilot[None]], Awaitable[None]]


def lines(app: TopApp) -> list[str]:
    """The screen as text."""
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip).rstrip() for strip in strips]


async def shows(app: TopApp, pilot: Pilot[None], text: str, limit_s: float = LIMIT_S) -> list[str]:
    """Wait until the screen has a text; the screen then."""
    deadline = time.monotonic() + limit_s
    while not any(text in line for line in lines(app)):
        assert time.monotonic() < deadline, f"{text!r} is not on the screen:\n" + "\n".join(lines(app))
        await pilot.pause(0.05)
    return lines(app)


@pytest.fixture
def view(tmp_path: Path) -> StoredView:
    """A service with four peers, of which one was polled, and an open incident."""
    view = StoredView(tmp_path)
    talkers = [peer(1, "out"), peer(2, "out"), peer(3), peer(4)]
    for at in range(20):
        received = [message(at, "inv", 37, one) for one in talkers] + [message(at, "tx", 250, talkers[3])]
        view.traffic.note([rows("net:inbound_message", *received)], 0.0)
    polled = {**talkers[2], "ping_us": 52_000, "addr_processed": 1_234, "addr_rate_limited": 77}
    others = [{**one, "ping_us": -1} for one in (talkers[0], talkers[1], talkers[3])]
    view.traffic.note([rows("rpc:peer", *({"at": 20, **one} for one in (*others, polled)))], 0.0)
    view.tell(flood(summary=f"192.0.2.3 floods {HOSTILE}"))
    return view


def over_api(view: StoredView, story: Story, size: tuple[int, int] = NARROW, token: str = "") -> None:
    """Run the screen over a real HTTP server."""

    async def run() -> None:
        async with serving(view) as client:
            app = TopApp(ApiReader(str(client.make_url("/")), token), every_s=0.1)
            async with app.run_test(size=size) as pilot:
                await story(app, pilot)

    asyncio.run(run())


def test_peers_node_and_incidents_are_on_a_narrow_screen(view: StoredView) -> None:
    async def story(app: TopApp, pilot: Pilot[None]) -> None:
        for part in ("192.0.2.3:8333", "messages a second", "open incident"):
            await shows(app, pilot, part)  # each answer of the API comes by itself
        screen = await shows(app, pilot, "192.0.2.3 floods")
        assert max(map(len, screen)) <= 80
        text = "\n".join(screen)
        assert "2 out, 2 in" in text
        assert "messages a second: 4.1 in, · out   inv 3.3  tx 0.8" in text
        (line,) = [line for line in screen if "192.0.2.3:8333" in line]
        assert line.split()[:9] == ["3", "in", "192.0.2.3:8333", "1m", "52ms", "0.8", "·", "1234", "77"]
        assert "192.0.2.3 floods" in text
        await shows(app, pilot, "Messages of the peer")
        assert not {"\x1b", "\u202e", "\u200b"} & set(text)

    over_api(view, story)


def test_enter_opens_a_peer_with_its_last_messages_in_two_columns(view: StoredView) -> None:
    async def story(app: TopApp, pilot: Pilot[None]) -> None:
        await shows(app, pilot, "192.0.2.3:8333")
        await pilot.press("down", "down", "enter")
        await shows(app, pilot, "They are kept from now on")
        many = [message(30 + at, "ping", at, peer(3)) for at in range(40)]
        view.traffic.note([rows("net:inbound_message", *many)], 0.0)
        view.traffic.note([rows("net:outbound_message", message(80, "pong", 8, peer(3)))], 0.0)
        screen = await shows(app, pilot, "pong (8 bytes) --->")
        (sent,) = [line for line in screen if "--->" in line]
        received = [line.strip(" █▂▁▃▄▅▆▇") for line in screen if "<---" in line]
        assert sent.startswith(" pong (8 bytes) --->")
        assert received[-1] == "<--- ping (39 bytes)"
        assert isinstance(app.screen, PeerScreen)
        text = str(app.screen.query_one("#list", Static).content)
        assert (text.count("<---"), text.count("--->")) == (24, 1)
        await pilot.press("escape")
        await shows(app, pilot, "open incident")

    over_api(view, story)


def test_sorting_keeps_the_cursor_on_its_peer(view: StoredView) -> None:
    async def story(app: TopApp, pilot: Pilot[None]) -> None:
        await shows(app, pilot, "192.0.2.3:8333")
        await pilot.press("down", "s")
        screen = await shows(app, pilot, "sorted by traffic")
        order = [line.split()[0] for line in screen if "192.0.2." in line and ":8333" in line]
        assert order == ["4", "1", "2", "3"]
        assert app.query_one(PeerList).cursor_row == 2
        await pilot.press("s")
        screen = await shows(app, pilot, "sorted by dropped addresses")
        assert next(line.split()[0] for line in screen if ":8333" in line) == "3"

    over_api(view, story)


def test_peers_come_and_leave(view: StoredView) -> None:
    async def story(app: TopApp, pilot: Pilot[None]) -> None:
        await shows(app, pilot, "192.0.2.3:8333")
        view.traffic.note([rows("net:closed_connection", {"at": 21, **peer(3)})], 0.0)
        view.traffic.note([rows("net:inbound_message", message(22, "inv", 1, peer(9)))], 0.0)
        screen = await shows(app, pilot, "192.0.2.9:8333")
        assert not [line for line in screen if "192.0.2.3:8333" in line]

    over_api(view, story)


def test_a_service_that_is_gone_is_said_above_its_last_facts(view: StoredView) -> None:
    async def story(app: TopApp, pilot: Pilot[None]) -> None:
        await shows(app, pilot, "192.0.2.3:8333")
        app.reader = ApiReader("http://127.0.0.1:1")
        screen = await shows(app, pilot, "does not answer: connection refused")
        assert any("192.0.2.3:8333" in line for line in screen)

    over_api(view, story)


def test_a_wide_screen_shows_more_types(view: StoredView) -> None:
    async def story(app: TopApp, pilot: Pilot[None]) -> None:
        screen = await shows(app, pilot, "192.0.2.4:8333")
        (line,) = [line for line in screen if "192.0.2.4:8333" in line]
        assert "inv 0.8  tx 0.8" in line

    over_api(view, story, (140, 40))


def test_a_token_is_sent_and_its_lack_is_said(tmp_path: Path, view: StoredView) -> None:
    view.api = ApiSettings(host="192.0.2.1", token=Secret("test", TOKEN))

    async def run() -> None:
        async with serving(view) as client:
            url = str(client.make_url("/"))
            look = await asyncio.to_thread(ApiReader(url, TOKEN).look, "")
            assert [one.conn for one in look.facts.peers] == [1, 2, 3, 4]
            with pytest.raises(TopError, match="answers 401: a token is needed"):
                await asyncio.to_thread(ApiReader(url).look, "")

    asyncio.run(run())


@pytest.mark.parametrize("url", ["localhost:8380", "ftp://a", "http://", "http://u:p@a", "http://a:99999"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(TopError, match="is no address of a service"):
        ApiReader(url)


def test_a_source_is_read_without_a_service() -> None:
    reader: FactReader = SourceReader([f"recording:{DEMO}"], once=True)
    try:
        assert isinstance(reader, SourceReader)
        reader.settled(60)
        look = reader.look("")
    finally:
        reader.close()
    assert look.incidents is None
    assert look.facts.state["blocks"] == 140
    assert len(look.facts.peers) > 50
    assert any(one.ping_s is not None and one.per_s("received") > 0.1 for one in look.facts.peers)


def test_no_terminal_gets_one_table_and_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = written(
        tmp_path / "a.events",
        [(1, [rows("net:inbound_message", message(0, "inv", 37, peer(3)), message(0, "x\x1b[2J", 1, peer(4)))])],
    )
    assert main(["top", made, "--node", "alice"]) == 0
    found = capsys.readouterr().out.splitlines()
    assert found[0].startswith("alice   chain unknown   0 out, 2 in")
    assert found[2] == "messages a second: 0.2 in, · out   inv 0.1  other 0.1"
    assert found[4].split() == [
        "#",
        "type",
        "peer",
        "age",
        "ping",
        "in/s",
        "out/s",
        "addrs",
        "drop",
        "busiest,",
        "a",
        "second",
    ]
    assert found[5].split() == ["3", "in", "192.0.2.3:8333", "1m", "-", "0.1", "·", "-", "-", "inv", "0.1"]
    assert "\x1b" not in "".join(found)


def test_what_cannot_be_read_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "token"
    empty.write_text("\n")
    for words, said in (
        (["--api", "http://127.0.0.1:1"], "127.0.0.1:1 does not answer: connection refused"),
        (["--api", "http://127.0.0.1:1", "--token", str(empty)], "holds no token"),
        (["log:x", "--api", "http://127.0.0.1:1"], "not both"),
        (["log:missing.log"], "no such file"),
    ):
        assert main(["top", *words]) == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert said in err


def test_numbers_fit_their_columns() -> None:
    widths = {key: width for key, _, width in COLUMNS}
    for exponent in range(15):
        for factor in (0.9994, 0.9996, 1, 4.4449, 9.9949, 9.9951):
            number = factor * 10.0**exponent / 100
            assert len(rate(number)) <= widths["received"], number
            assert len(amount(number)) <= 5, number
            assert len(ping(min(number, 99_999))) <= widths["ping"] + 1, number
    assert [span(value) for value in (None, 0, 59, 61, 7_200, 90_000)] == ["-", "0s", "59s", "1m", "2h", "1d"]
    assert [amount(value) for value in (None, 0, 1234, 12_345, 3_400_000)] == ["-", "0", "1234", "12.3k", "3.4M"]


def test_addresses_are_cut_without_their_port_first() -> None:
    assert cut("[2001:db8::1]:8333", 18) == "[2001:db8::1]:8333"
    assert cut("[2001:db8:0:1::1]:8333", 18) == "[2001:db8:0:1::1]"
    assert cut("[2001:db8:0:1:2:3:4:5]:8333", 18) == "[2001:db8:0:1:2:3…"
    assert cut("a\x1b[2J", 18) == "a\\x1b[2J"


def test_the_busiest_types_fit() -> None:
    types = {"inv": Amount(9, 9, 12.3), "tx": Amount(9, 9, 0.4), "ping": Amount(9, 9, 0.01)}
    one = ShownPeer("a", "ipv4", "in", "inbound", {"received": types, "sent": {"tx": Amount(1, 1, 0.2)}})
    assert busiest_types([one], 40) == "inv 12  tx 0.6"
    assert busiest_types([one], 8) == "inv 12"
    assert busiest_types([one], 3) == ""


def test_cells_of_a_busy_peer_fit_their_columns() -> None:
    types = {"received": {"inv": Amount(10**6, 10**9, 4_321.0)}, "sent": {"tx": Amount(10**6, 10**9, 999.4)}}
    names = ("256.256.256.256:65535", "ipv4", "in", "outbound-full-relay")
    one = ShownPeer(*names, types, 999_999, 1, 99 * 86_400.0, "", 1_199.0, 0.0, 58_474.0, 131_445.0)
    cells = peer_cells(one, 8)
    assert {key: cells[key] for key, _, width in COLUMNS if len(cells[key]) > width} == {}
    assert cells["dropped"] == "131k"
    assert peer_cells(msgspec.structs.replace(one, addresses_dropped=58_474.0), 8)["dropped"] == "58.5k"


def test_the_table_lists_incidents() -> None:
    incidents = (ShownIncident("high", "r", "a flood\nof lines", 100.0),)
    text = list(plain_table(NodeLook(ShownNode("n", {}, []), ("n",), incidents, "node is away"), 160.0))
    assert "trouble: node is away" in text
    assert text[-2:] == ["1 open incident", "high       1m  a flood\\x0aof lines"]


def test_a_peer_without_messages_has_no_rate_of_zero(tmp_path: Path) -> None:
    view = StoredView(tmp_path)
    view.traffic.note([rows("rpc:peer", {"at": 0, **peer(1), "ping_us": 9_000})], 0.0)

    async def story(app: TopApp, pilot: Pilot[None]) -> None:
        screen = await shows(app, pilot, "192.0.2.1:8333")
        (line,) = [line for line in screen if "192.0.2.1:8333" in line]
        assert line.split()[4:7] == ["9ms", "-", "-"]
        await pilot.press("enter")
        await shows(app, pilot, "No source gives messages of this peer")

    over_api(view, story)


def test_the_next_node_is_asked_for(view: StoredView) -> None:
    view.facts = {"nodes": [{"node": "node-1"}, {"node": "node-2"}]}

    async def story(app: TopApp, pilot: Pilot[None]) -> None:
        await shows(app, pilot, "Next node")
        await pilot.press("n")
        await shows(app, pilot, "has no /api/v1/nodes/node-2/peers")
        await pilot.press("n")
        screen = await shows(app, pilot, "node-1  127.0.0.1")
        assert any("192.0.2.3:8333" in line for line in screen)

    over_api(view, story)
