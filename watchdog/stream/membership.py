"""Who is connected to a server, who has subscribed, and what they want together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from watchdog.core.errors import WatchdogError
from watchdog.core.kinds import TIME_FIELD, TYPES
from watchdog.core.text import printable
from watchdog.stream.offer import Demand, Hello, OfferedField, OfferedKind, united_payloads
from watchdog.stream.schema import MAJOR, MINOR, SUBSCRIBERS_MOST
from watchdog.stream.session import ReaderSession, Wish
from watchdog.stream.wire import StreamFaultError, write_kinds

_TIME: Final = (TIME_FIELD.name, TIME_FIELD.type, TIME_FIELD.unit)
_LOG = logging.getLogger("watchdog.stream")


class Membership:
    """The sessions of a server; implements `watchdog.stream.session.Host`.

    on_demand: see `StreamServer`. flush: sends what was gathered under the demand before.
    """

    def __init__(self, hello: Hello, on_demand: Callable[[Demand], None], flush: Callable[[], None]) -> None:
        self.sessions: set[ReaderSession] = set()
        self.demand = Demand()
        self._hello, self._on_demand, self._flush = hello, on_demand, flush
        self._offered = {kind.name: kind for kind in hello.kinds}

    def introduce(self, hello: Hello) -> None:
        """Greet later readers with this, such as after a restart of the node. Its kinds are those of before."""
        self._hello = hello

    def greet(self, target: Any) -> None:
        """Write the greeting."""
        hello = self._hello
        target.protocol.major, target.protocol.minor = MAJOR, MINOR
        target.producer, target.node, target.bootNs = hello.producer, hello.node, hello.boot_ns
        write_kinds(target, hello.kinds)

    def offered(self, declared: Mapping[str, tuple[OfferedField, ...]]) -> Mapping[str, OfferedKind]:
        """Return what is offered to a subscriber that declares these tracepoints."""
        known = {**self._offered}
        for name, fields in declared.items():
            odd = next((typ for field, typ, _ in fields if typ not in TYPES or field == TIME_FIELD.name), None)
            if odd is not None:
                raise StreamFaultError(f"the tracepoint '{name}' has a field of type '{printable(odd, 40)}', or a time")
            if self.demand.tracepoints.get(name, fields) != fields:
                raise StreamFaultError(f"the tracepoint '{name}' is declared otherwise by another subscriber")
            if name in known:
                raise StreamFaultError(f"the kind '{name}' is known and cannot be declared")
            known[name] = OfferedKind(name, (_TIME, *fields))
        return known

    def joined(self, session: ReaderSession, wish: Wish) -> None:
        """Take a subscriber."""
        wishes = [other.wish for other in self.sessions if other.wish is not None and other is not session]
        if len(wishes) >= SUBSCRIBERS_MOST:
            raise StreamFaultError(f"{SUBSCRIBERS_MOST} readers have subscribed, and that is the most")
        self._want([*wishes, wish])

    def left(self, session: ReaderSession) -> None:
        """Forget a session."""
        self.sessions.discard(session)
        try:
            self._want([other.wish for other in self.sessions if other.wish is not None])
        except WatchdogError as error:
            _LOG.error("stream: %s", printable(error.in_one_line(), 500))

    def _want(self, wishes: Sequence[Wish]) -> None:
        demand = Demand(
            frozenset(kind for wish in wishes for kind in wish.kinds),
            united_payloads([wish.payloads for wish in wishes]),
            {name: fields for wish in wishes for name, fields in wish.tracepoints.items()},
        )
        if demand != self.demand:
            self._flush()  # what came under the demand before
            self._on_demand(demand)
            self.demand = demand
