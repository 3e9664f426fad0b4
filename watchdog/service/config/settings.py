"""What `watchdog run` is configured with: plain values, checked before they come here (see `config`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from alerts.delivery.template import CompiledTemplate
from alerts.escalation import AttentionPlan
from alerts.maintenance import QuietWindow
from alerts.routing import DEFAULT_CASE_EVENTS, TlsFiles
from alerts.silence import ClaimSilence
from rules.exceptions import ExceptionSource
from rules.load import DEFAULT_PACK
from watchdog.core.declared import Declaration
from watchdog.core.durations import DAY_NS, MINUTE_NS, SECOND_NS
from watchdog.service.config.secret import Secret


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One source of the configuration. text: such as `log:/var/debug.log`. settings: its further keys with defaults."""

    text: str
    settings: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RecorderSettings:
    """What is recorded beside the watching. Sizes in bytes.

    folder: of the files. keep: of all files together. kinds: those recorded, beside gaps and starts of the node.
    payload: most bytes of a payload by message type, see `SourceOptions.payloads`. peers: an expression of `where`;
    rows of kinds that have its fields are recorded where it holds. before_ns, after_ns: around the opening of an
    incident of severity warning and above, files are kept for keep_incidents_ns.
    """

    folder: Path
    keep: int
    kinds: frozenset[str]
    payload: Mapping[str, int]
    peers: str
    before_ns: int
    after_ns: int
    keep_incidents_ns: int


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """One node of the configuration.

    source_settings: further keys of its sources that have any, by source. order: schemes that are asked first for kinds
    that several sources give. recorder: None when nothing is recorded.
    """

    name: str
    sources: tuple[str, ...]
    source_settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    recorder: RecorderSettings | None = None


@dataclass(frozen=True, slots=True)
class CheckpointSettings:
    """folder: of checkpoint, pid file and the answer to the last reload. every_ns: between two checkpoints."""

    folder: Path
    every_ns: int = 10 * SECOND_NS


Role = Literal["viewer", "operator"]


@dataclass(frozen=True, slots=True)
class ApiToken:
    """One token with the name that is stored with what is done with it. role: a viewer may only read."""

    name: str
    role: Role
    token: Secret


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """host, port: where page and API listen. token: demanded for changes, and for everything when host is no loopback.

    tokens: those with names, any of which does as well.
    public_url: how people reach the page, without a slash at the end; goes into alerts.
    """

    host: str = "127.0.0.1"
    port: int = 8380
    token: Secret | None = None
    public_url: str = ""
    tokens: tuple[ApiToken, ...] = ()

    @property
    def url(self) -> str:
        """The page's address: `public_url`, else where it listens."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """One receiver of alerts. secrets: newest first, all of them sign. url is a secret where it came from one.

    severity: the least that is sent. events: types of notices. rate_per_minute: at most, 0 for no limit. keepalive_ns:
    between two posts of an alert that fires, for the format `alertmanager`. nodes: only changes at these; empty: all.
    about: `cases` or `incidents`. places: where keys are written, see `Receiver`. template: of its messages; None for
    the usual text. own, labels, proxy, tls, redact: as in `Receiver`. more_urls: further members of a cluster. house:
    the folder of the key of the house.
    """

    name: str
    url: Secret
    format: str = "webhook"
    secrets: tuple[Secret, ...] = ()
    severity: str = "warning"
    events: tuple[str, ...] = DEFAULT_CASE_EVENTS
    rate_per_minute: int = 60
    timeout_ns: int = 10 * SECOND_NS
    allow_private: bool = False
    headers: Mapping[str, Secret] = field(default_factory=dict)
    enabled: bool = True
    keepalive_ns: int = 60 * SECOND_NS
    nodes: tuple[str, ...] = ()
    about: str = "cases"
    places: Mapping[str, str] = field(default_factory=dict)
    template: CompiledTemplate | None = None
    own: Mapping[str, tuple[Secret, ...]] = field(default_factory=dict)
    more_urls: tuple[Secret, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    proxy: Secret | None = None
    tls: TlsFiles = field(default_factory=TlsFiles)
    redact: str = "none"
    house: Path = Path()


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

    path: the file itself. nodes: in the order of the file. clock_skew: how far event times may be ahead of the wall
    clock, ns. start: `now`, `beginning` or a duration. warnings: what deserves a look, rendered. changed: lines on
    keys whose meaning changed since the version before, for the first start. several: whether the nodes are under
    `nodes`, so that metrics name the node. tracepoints: those that it declares; their kinds are known once it is read.
    allow_exec: whether the command line permits receivers of the format `exec`. silences, maintenance: what is held
    back, see `alerts`. exceptions: of rules, beside those of rule files. attention: escalations and reminders.
    """

    path: Path
    nodes: tuple[NodeSettings, ...]
    database: Secret
    checkpoint: CheckpointSettings
    rules: tuple[Path, ...] = ()
    packs: tuple[str, ...] = (DEFAULT_PACK,)
    asmap: str | None = None
    api: ApiSettings = ApiSettings()
    receivers: tuple[ReceiverSettings, ...] = ()
    heartbeat: HeartbeatSettings | None = None
    retention: RetentionSettings = RetentionSettings()
    queues: QueueSettings = QueueSettings()
    clock_skew: int = 2 * MINUTE_NS
    log_level: str = "info"
    log_format: str = "text"
    start: str = "now"
    warnings: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    several: bool = False
    tracepoints: tuple[Declaration, ...] = ()
    allow_exec: bool = False
    silences: tuple[ClaimSilence, ...] = ()
    maintenance: tuple[QuietWindow, ...] = ()
    exceptions: tuple[ExceptionSource, ...] = ()
    attention: AttentionPlan = field(default_factory=AttentionPlan)

    @property
    def node(self) -> str:
        """The names of all nodes, for people."""
        return ", ".join(one.name for one in self.nodes)

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of all nodes; no two nodes have the same."""
        return tuple(text for one in self.nodes for text in one.sources)

    @property
    def source_settings(self) -> Mapping[str, Mapping[str, object]]:
        """Further keys of the sources of all nodes, by source."""
        return {text: own for one in self.nodes for text, own in one.source_settings.items()}
