"""The screen of `watchdog top`: the node above, its peers in a table, open incidents below."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Static

from watchdog.core.text import counted, printable
from watchdog.top.facts import FactReader, NodeLook, ShownIncident, ShownPeer, TopError
from watchdog.top.peer_screen import PeerScreen
from watchdog.top.wording import COLUMNS, NOTHING, TEXT_COLUMNS, head, incident_line, peer_cells, traffic_line

EVERY_S: Final = 2.0  # between two looks
SHOWN_INCIDENTS: Final = 4  # lines below the table
_BUSIEST: Final = "busiest"
_LEAST_BUSIEST: Final = 8
_SEVERITIES: Final = {"critical": "bold red", "high": "red", "warning": "yellow"}
_ORDERS: Final[Mapping[str, Callable[[ShownPeer], tuple[float, str]]]] = {
    "number": lambda one: (one.conn if one.conn is not None else 1 << 62, one.peer),
    "traffic": lambda one: (-one.per_s("received") - one.per_s("sent"), one.peer),
    "dropped addresses": lambda one: (-(one.addresses_dropped or 0), one.peer),
    "ping": lambda one: (-(one.ping_s or 0), one.peer),
}


class PeerList(DataTable[Text]):
    """The table of peers; Enter is in the footer."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Messages of the peer")]


class TopApp(App[None]):
    """Looks every two seconds. A look that fails leaves the last facts on the screen, with the reason above them."""

    TITLE = "watchdog top"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: $background; }
    #title, #head, #incidents { padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #title { height: 1; background: $panel; color: $text-muted; }
    #head { height: 3; }
    DataTable { height: 1fr; background: $background; scrollbar-size-vertical: 1; }
    DataTable > .datatable--header { background: $background; color: $text-muted; text-style: none; }
    DataTable > .datatable--cursor { background: $surface-lighten-1; color: $text; text-style: none; }
    #incidents { height: auto; max-height: 5; }
    Footer { background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("s", "sort", "Sort"),
        Binding("n", "node", "Next node"),
    ]

    def __init__(self, reader: FactReader, node: str = "", *, every_s: float = EVERY_S) -> None:
        super().__init__()
        self.reader, self.node, self._every_s = reader, node, every_s
        self._look: NodeLook | None = None
        self._order, self._rows = "number", dict[str, dict[str, str]]()
        self._looking = False

    def compose(self) -> ComposeResult:
        """Build the parts, from top to bottom."""
        yield Static(id="title")
        yield Static(id="head")
        yield PeerList(cursor_type="row", cell_padding=0)
        yield Static(id="incidents")
        yield Footer()

    def on_mount(self) -> None:
        """Make the columns and look for the first time."""
        self.theme = "nord"
        table = self._table
        for key, title, width in (*COLUMNS, (_BUSIEST, _BUSIEST, _LEAST_BUSIEST)):
            table.add_column(_cell(key, title, width), key=key, width=width + 1)
        table.focus()
        self._title("")
        self.set_interval(self._every_s, self.refresh_facts)
        self.call_later(self.refresh_facts)

    async def refresh_facts(self) -> None:
        """Look once; a look that takes longer than the interval is not doubled."""
        if self._looking:
            return
        self._looking = True
        trouble, several = "", self._several
        try:
            self._look = await asyncio.to_thread(self.reader.look, self.node)
        except TopError as error:
            trouble = str(error)
        finally:
            self._looking = False
        if not (self.screen_stack and self.screen_stack[0].query("#title")):
            return  # the program was closed while it looked
        if self._look is not None:
            self.node = self.node or self._look.facts.node
            self._show()
        if self._several != several:
            self.refresh_bindings()
        self._title(trouble or (self._look.trouble if self._look is not None else ""))

    def on_resize(self) -> None:
        """Give the last column what the others leave."""
        if self._look is not None:
            self.call_after_refresh(self._show)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open a peer."""
        self._open(str(event.row_key.value))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        """Return whether an action is possible: on the page of a peer none of the table, no next node without one."""
        if action == "node":
            return not self._paged and self._several
        return not (action == "sort" and self._paged)

    def action_sort(self) -> None:
        """Take the next order."""
        orders = list(_ORDERS)
        self._order = orders[(orders.index(self._order) + 1) % len(orders)]
        self._title(self._look.trouble if self._look is not None else "")
        self._show()

    def action_node(self) -> None:
        """Take the next node of the service."""
        nodes = self._look.nodes if self._look is not None else ()
        if len(nodes) > 1 and self.node in nodes:
            self.node = nodes[(nodes.index(self.node) + 1) % len(nodes)]
            self.call_later(self.refresh_facts)

    @property
    def _table(self) -> PeerList:
        return self.screen_stack[0].query_one(PeerList)

    @property
    def _several(self) -> bool:
        """Whether there is another node to look at."""
        return self._look is not None and len(self._look.nodes) > 1

    @property
    def _paged(self) -> bool:
        """Whether the page of a peer is open."""
        return len(self.screen_stack) > 1

    def _part(self, name: str) -> Static:
        return self.screen_stack[0].query_one(name, Static)

    def _open(self, name: str) -> None:
        found = [one for one in self._look.facts.peers if one.peer == name] if self._look is not None else []
        if found and found[0].conn is not None:
            self.push_screen(PeerScreen(self.reader, self.node, found[0]))
        elif found:
            self.notify("No source gives messages of this peer.", timeout=3)

    def _show(self) -> None:
        look = self._look
        if look is None:
            return
        lines = [*head(look), traffic_line(look.facts.peers)]
        if look.facts.peers_beyond:
            lines[0] += f"   {look.facts.peers_beyond} gave way for want of room"
        self._part("#head").update(Text("\n".join(lines)))
        self._show_peers(sorted(look.facts.peers, key=_ORDERS[self._order]))
        self._show_incidents(look.incidents)

    def _show_peers(self, peers: Sequence[ShownPeer]) -> None:
        """Change the cells that differ; make the rows again only where peers came, left or changed places."""
        table = self._table
        rest = max(self.size.width - sum(width + 1 for _, _, width in COLUMNS) - 2, _LEAST_BUSIEST)
        table.columns[next(key for key in table.columns if key.value == _BUSIEST)].width = rest
        rows = {one.peer: peer_cells(one, rest) for one in peers}
        if list(rows) != list(self._rows):
            self._make_rows(rows)
        else:
            for name, cells in rows.items():
                for key, text in cells.items():
                    if text != self._rows[name][key]:
                        table.update_cell(name, key, _styled(key, text))
        self._rows = rows

    def _make_rows(self, rows: Mapping[str, Mapping[str, str]]) -> None:
        table = self._table
        under, at, scroll = self._under_cursor(), table.cursor_row, table.scroll_y
        table.clear()
        for name, cells in rows.items():
            table.add_row(*(_styled(key, cells[key]) for key in [*(key for key, _, _ in COLUMNS), _BUSIEST]), key=name)
        names = list(rows)
        if names:
            row = names.index(under) if under in rows else min(at, len(names) - 1)
            table.move_cursor(row=row, animate=False, scroll=False)
            table.scroll_to(y=scroll, animate=False)

    def _under_cursor(self) -> str:
        """Return the peer under the cursor, so that it stays there."""
        names = list(self._rows)
        return names[self._table.cursor_row] if 0 <= self._table.cursor_row < len(names) else ""

    def _show_incidents(self, incidents: Sequence[ShownIncident] | None) -> None:
        text = Text()
        if incidents is None:
            text.append("No service is asked, so no rules run: give --api URL for incidents.", "dim")
        elif not incidents:
            text.append("No open incidents.", "dim")
        else:
            more = len(incidents) - SHOWN_INCIDENTS
            text.append(counted(len(incidents), "open incident"), "bold")
            text.append(f", {more} not shown here" if more > 0 else "", "dim")
            for incident in incidents[:SHOWN_INCIDENTS]:
                line = incident_line(incident, time.time(), max(self.size.width - 2, 20))
                text.append(f"\n{line}", _SEVERITIES.get(incident.severity, ""))
        self._part("#incidents").update(text)

    def _title(self, trouble: str) -> None:
        text = Text()
        text.append(f"{printable(self.node) or self.TITLE}  ", "bold")
        if trouble:
            text.append(printable(trouble, 300), "bold red")
        else:
            text.append(f"{printable(self.reader.name, 40)}  {datetime.now(UTC):%H:%M:%S} UTC  sorted by {self._order}")
        self._part("#title").update(text)


def _cell(key: str, text: str, width: int) -> Text:
    """Return the heading of a column."""
    return Text(text if key in TEXT_COLUMNS else text.rjust(width))


def _styled(key: str, text: str) -> Text:
    """Return a cell: text to the left, numbers to the right, what says nothing dimmed."""
    width = next((width for name, _, width in COLUMNS if name == key), 0)
    shown = text if key in TEXT_COLUMNS else text.rjust(width)
    quiet = key != "conn" and text in (NOTHING, "·", "0")
    style = "dim" if quiet or key == _BUSIEST else ""
    if key == "dropped" and text not in (NOTHING, "0"):
        style = "yellow"
    return Text(shown, style, no_wrap=True)
