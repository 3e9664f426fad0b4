"""What `watchdog run` is configured with: plain values, checked before they come here (see `config`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from alerts.routing import DEFAULT_EVENTS
from watchdog.core.durations import DAY_NS, MINUTE_NS, SECOND_NS
from watchdog.service.config.secret import Secret


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One source of the configuration. text: such as `log:/var/debug.log`. settings: its further keys with defaults."""

    text: str
    settings: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """folder: of checkpoint, pid file and the answer to the last reload. every_ns: between two checkpoints."""

    folder: Path
    every_ns: int = 10 * SECOND_NS


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """host, port: where page and API listen. token: demanded for changes, and for everything when host is no loopback.

    public_url: how people reach the page, without a slash at the end; goes into alerts.
    """

    host: str = "127.0.0.1"
    port: int = 8380
    token: Secret | None = None
    public_url: str = ""

    @property
    def url(self) -> str:
        """The page's address: `public_url`, else where it listens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """One receiver of alerts. secrets: newest first, all of them sign. url is a secret where it came from one.

    severity: the least that is sent. events: types of notices. rate_per_minute: at most, 0 for no limit. keepalive_ns:
    between two posts of an alert that fires, for the format `alertmanager`.
    """

    name: str
    url: Secret
    format: str = "webhook"
    secrets: tuple[Secret, ...] = ()
    severity: str = "warning"
    events: tuple[str, ...] = DEFAULT_EVENTS
    rate_per_minute: int = 60
    timeout_ns: int = 10 * SECOND_NS
    allow_private: bool = False
    headers: Mapping[str, Secret] = field(default_factory=dict)
    enabled: bool = True
    keepalive_ns: int = 60 * SECOND_NS


@dataclass(frozen=True, slots=True)
class HeartbeatSettings:
    """A sign of life to a receiver, so that silence is noticed there."""

    receiver: str
    every_ns: int = 60 * SECOND_NS


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """How long resolved incidents and finished deliveries are kept."""

    resolved_ns: int = 90 * DAY_NS
    deliveries_ns: int = 30 * DAY_NS


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """changes: bundles between engine and database. events: announcements that one page may be behind."""

    changes: int = 1_000
    events: int = 1_000


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """Everything of one `watchdog.yaml`; every path is absolute or as given on the command line.

    clock_skew: how far event times may be ahead of the wall clock, ns. path: the file itself. start: `now`, `beginning`
    or a duration. warnings: what deserves a look, rendered. changed: lines on keys whose meaning changed since the
    version before, for the first start. source_settings: further keys of sources that have any, by source.
    """

    path: Path
    node: str
    sources: tuple[str, ...]
    database: Secret
    checkpoint: CheckpointSettings
    rules: tuple[Path, ...] = ()
    packs: bool = True
    asmap: str | None = None
    api: ApiSettings = ApiSettings()
    receivers: tuple[ReceiverSettings, ...] = ()
    heartbeat: HeartbeatSettings | None = None
    retention: RetentionSettings = RetentionSettings()
    queues: QueueSettings = QueueSettings()
    clock_skew: int = 2 * MINUTE_NS
    log_level: str = "info"
    start: str = "now"
    warnings: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    source_settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
