"""Source `rpc:URL`: polls a node while the service runs, with the events that `snapshots:` gives of its answers."""

from __future__ import annotations

import logging

from watchdog.core.source import SourceOptions
from watchdog.core.text import printable
from watchdog.sources.rpc.client import RpcClient
from watchdog.sources.rpc.columns import KINDS
from watchdog.sources.rpc.link import NodeLink
from watchdog.sources.rpc.polled_source import PolledSource, methods_for
from watchdog.sources.rpc.poller import Poller, RoundReceiver, Timing
from watchdog.sources.rpc.schedule import Schedule
from watchdog.sources.rpc.settings import RpcSettings, check, credentials_of
from watchdog.sources.rpc.url import NodeUrl

__all__ = ["KINDS", "RpcSource", "open_rpc"]

_LOG = logging.getLogger("watchdog.sources")


class RpcSource(PolledSource):
    """A node that is polled over HTTP; see `PolledSource`."""

    def __init__(self, place: str, options: SourceOptions, timing: Timing | None = None) -> None:
        """Start to poll. Raise SourceError for a URL or settings that cannot be used, PositionError for a position."""
        warning = check(place, options.settings)
        url, settings = NodeUrl.of(place), RpcSettings.of(options.settings)
        name = f"rpc:{place}"
        if warning:
            _LOG.warning("source %s: %s", printable(name), warning)
        client = RpcClient(url, credentials_of(url, options.settings), settings.timeout_s)
        super().__init__(name, client, options, KINDS, timing=timing)


def polls_of(place: str, receiver: object) -> Poller:
    """Return what makes every call of a node at its usual intervals, for a receiver of the answers themselves.

    Raise SourceError for a URL that cannot be used.
    """
    if not isinstance(receiver, RoundReceiver):
        raise TypeError("the receiver takes no rounds")
    warning, url, settings = check(place, {}), NodeUrl.of(place), RpcSettings()
    name = f"rpc:{place}"
    if warning:
        _LOG.warning("source %s: %s", printable(name), warning)
    schedule = Schedule(methods_for(lambda _kind: True), {}, settings.budget, Timing().random)
    return Poller(RpcClient(url, credentials_of(url, {})), schedule, NodeLink(name), receiver)


def open_rpc(place: str, options: SourceOptions) -> RpcSource:
    """Open the source of a URL; the registry calls it."""
    return RpcSource(place, options)
