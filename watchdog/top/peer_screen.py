"""One peer: who it is, what it sent and got by type, and its last messages in two columns."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from watchdog.core.text import printable
from watchdog.top.facts import FactReader, PeerMessages, ShownPeer, TopError
from watchdog.top.wording import NOTHING, amount, message_cells, ping, rate, span

SHOWN: Final = 25  # messages, as in Core's p2p_monitor.py
EVERY_S: Final = 1.0
_STYLES: Final = {"received": "cyan", "sent": ""}


class PeerScreen(Screen[None]):
    """Asks for the messages of a peer every second, which makes the service keep them."""

    CSS = """
    PeerScreen { background: $background; }
    #who { height: 5; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #sides { height: 1; padding: 0 1; color: $text-muted; background: $panel; }
    #messages { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; scrollbar-gutter: stable; }
    #list { text-wrap: nowrap; text-overflow: ellipsis; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace,left", "app.pop_screen", "Back", key_display="esc"),
        Binding("q", "app.quit", "Quit"),
    ]

    def __init__(self, reader: FactReader, node: str, peer: ShownPeer) -> None:
        super().__init__()
        self._reader, self._node, self._peer = reader, node, peer
        self._asking = False

    def compose(self) -> ComposeResult:
        """Build the parts."""
        yield Static(id="who")
        yield Static(id="sides")
        with VerticalScroll(id="messages"):
            yield Static(id="list")
        yield Footer()

    def on_mount(self) -> None:
        """Show what is known, and ask for the first time."""
        self.query_one("#sides", Static).update(f"our node{'peer'.rjust(self.size.width - 10)}")
        self._box.focus()
        self.query_one("#who", Static).update(who(self._peer, self.size.width - 2))
        self.set_interval(EVERY_S, self.ask)
        self.call_later(self.ask)

    async def ask(self) -> None:
        """Ask for messages, and for the present counts of the peer."""
        if self._asking or self._peer.conn is None:
            return
        self._asking = True
        try:
            found = await asyncio.to_thread(self._reader.messages, self._node, self._peer.conn)
            look = await asyncio.to_thread(self._reader.look, self._node)
        except TopError as error:
            if self.query("#list"):
                self._say(str(error), "red")
            return
        finally:
            self._asking = False
        if not self.query("#list"):
            return  # the page was closed while it asked
        self._peer = next((one for one in look.facts.peers if one.peer == self._peer.peer), self._peer)
        self.query_one("#who", Static).update(who(self._peer, self.size.width - 2))
        if found is None or found.peer != self._peer.peer:
            self._say("This peer has left.", "yellow")
        else:
            self._show(found)

    @property
    def _box(self) -> VerticalScroll:
        return self.query_one("#messages", VerticalScroll)

    def _show(self, found: PeerMessages) -> None:
        if self._peer.messages is None:
            self._say("No source gives messages of this peer, or none came yet.", "dim")
            return
        if not found.messages:
            self._say("No messages yet. They are kept from now on, while this page is open.", "dim")
            return
        width = max(self.query_one("#list").size.width, 20)
        text = Text(no_wrap=True)
        for message in found.messages[-SHOWN:]:
            left, right = message_cells(message)
            text.append(f"{left}{right.rjust(width - len(left))}\n", _STYLES.get(message.flow, ""))
        at_end = self._box.scroll_offset.y >= self._box.max_scroll_y - 1
        self.query_one("#list", Static).update(text[:-1])
        if at_end:
            self._box.scroll_end(animate=False)

    def _say(self, text: str, style: str) -> None:
        self.query_one("#list", Static).update(Text(printable(text, 300), style))


def who(peer: ShownPeer, width: int) -> Text:
    """Return the five lines above the messages."""
    number = "" if peer.conn is None else f"#{peer.conn}, "
    network = printable(peer.network, 12) + (f", AS{peer.asn}" if peer.asn else "")
    text = Text()
    text.append(printable(peer.peer, 80), "bold")
    text.append(f"   {number}{printable(peer.connection_type, 24)}, {network}\n")
    text.append(f"{printable(peer.user_agent or '', 120)}\n", "dim")
    text.append(f"age {span(peer.age_s)}   ping {ping(peer.ping_s)}, least {ping(peer.min_ping_s)}   ")
    text.append(f"addresses {amount(peer.addresses)} taken, {amount(peer.addresses_dropped)} dropped")
    for flow in ("received", "sent"):
        text.append(f"\n{flow:<10}", "dim")
        text.append(types_line(peer, flow, width - 10))
    return text


def types_line(peer: ShownPeer, flow: str, width: int) -> str:
    """Return the types of a flow with count and rate, the most frequent first, as many as fit."""
    types = sorted(peer.types(flow).items(), key=lambda pair: (-pair[1].count, pair[0]))
    line = ""
    for name, one in types:
        more = f"{printable(name, 16)} {amount(one.count)} ({rate(one.per_s)}/s)"
        if len(line) + len(more) + 2 > width:
            return line
        line = f"{line}  {more}" if line else more
    return line or (NOTHING if peer.messages is None else "nothing")
