"""The keys of `watchdog.yaml`: one table for the reader, the JSON Schema and docs/CONFIG.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from alerts.notice import EVENT_TYPES
from alerts.routing import DEFAULT_EVENTS, FORMATS
from watchdog.core.durations import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS
from watchdog.core.finding import SEVERITIES
from watchdog.located_yaml.keys import Key
from watchdog.sources.registry import syntaxes

Shape = Literal[
    "start", "text", "path", "paths", "sources", "choice", "choices", "duration", "whole", "flag", "listen", "url",
    "secret", "secrets", "sealed", "headers", "receiver",
]  # fmt: skip

NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RECEIVER = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
LEVELS = ("debug", "info", "warning", "error")
_SECRET_ORIGIN = "`file: PATH` or `env: NAME`"  # noqa: S105 (the words for where a secret comes from)


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the file. by_name: its keys are names that people choose, each with a table of these keys."""

    name: str
    about: str
    keys: tuple[Key[Shape], ...]
    by_name: bool = False


TOP = Section(
    "",
    "At the top of the file. Relative paths are relative to the folder of the file.",
    (
        Key("node", "text", "Name of the node; events and incidents carry it.", "node"),
        Key(
            "sources",
            "sources",
            f"Where events come from: {', '.join(syntaxes()[:-1])} or {syntaxes()[-1]}. Live files are followed. A "
            "source with further keys is a mapping that begins with its scheme: `log: FILE`.",
            required=True,
        ),
        Key("rules", "paths", "Rule files, or folders of *.yaml, after the shipped packs.", shown="none"),
        Key("packs", "flag", "Whether the shipped rules are used.", "true"),
        Key("asmap", "path", "An asmap file of Bitcoin Core, for ASNs and netgroups.", shown="none"),
        Key(
            "start",
            "start",
            "Where a source starts that has no position in a checkpoint: `now`, `beginning` (all that exists), or this "
            "long ago. The hour before is read to fill windows, and not reported. events: and recording: are read "
            "whole. `watchdog run --start` overrides it.",
            "now",
            shown="`now`",
            low=MINUTE_NS,
            high=365 * DAY_NS,
        ),
        Key(
            "database",
            "sealed",
            "Where incidents are stored: a URL of SQLite or PostgreSQL; one with a password comes from a file or the "
            "environment.",
            "sqlite:///watchdog.db",
            shown="`sqlite:///watchdog.db`, beside this file",
        ),
        Key(
            "clock_skew",
            "duration",
            "How far event times may be ahead of the clock of this machine. Events further ahead are not judged: "
            "incident `data-clock`.",
            "2m",
            unit="duration",
            low=SECOND_NS,
            high=HOUR_NS,
        ),
        Key(
            "log_level",
            "choice",
            "The least important lines that are logged. Their times are UTC.",
            "info",
            choices=LEVELS,
        ),
    ),
)
CHECKPOINT = Section(
    "checkpoint",
    "State on disk, so that a restart resumes at the exact event.",
    (
        Key(
            "folder",
            "path",
            "The folder of checkpoints, the pid file and the answer to a reload.",
            shown="the file's folder",
        ),
        Key("every", "duration", "Time between two checkpoints.", "30s", unit="duration", low=SECOND_NS, high=HOUR_NS),
    ),
)
API = Section(
    "api",
    "Page and JSON API.",
    (
        Key("listen", "listen", "Address and port.", "127.0.0.1:8380", unit="address:port"),
        Key(
            "token",
            "secret",
            f"{_SECRET_ORIGIN}: the token that changes need, and that everything needs when `listen` is no loopback "
            "address. At least 16 characters.",
            shown="none: no changes over the API",
        ),
        Key("public_url", "url", "The page's address for people; goes into alerts.", shown="`http://` and the address"),
    ),
)
RECEIVERS = Section(
    "receivers",
    "The receivers of alerts, each by a name of your choice.",
    (
        Key(
            "url",
            "sealed",
            "Where notices go; one with a password or token comes from a file or the environment. For the format "
            "`alertmanager`: Alertmanager's base, such as `http://127.0.0.1:9093`.",
            required=True,
        ),
        Key("format", "choice", "What is sent, see [WEBHOOKS.md](WEBHOOKS.md).", "webhook", choices=FORMATS),
        Key(
            "keepalive",
            "duration",
            "Format `alertmanager` only: how often alerts that fire are posted again. They expire after three times "
            "this.",
            shown="`60s`",
            unit="duration",
            low=SECOND_NS,
            high=HOUR_NS,
        ),
        Key("secret", "secret", f"{_SECRET_ORIGIN}: the signing key, `whsec_` and base64.", shown="not signed"),
        Key(
            "previous",
            "secrets",
            "Older signing keys, newest first; they sign too until they are removed.",
            shown="none",
        ),
        Key("severity", "choice", "The least severity that is sent.", "warning", choices=SEVERITIES),
        Key(
            "events",
            "choices",
            "The events that are sent.",
            shown=", ".join(f"`{one}`" for one in DEFAULT_EVENTS),
            choices=EVENT_TYPES,
        ),
        Key(
            "rate_per_minute", "whole", "Requests a minute at most; 0 is no limit.", "60", unit="requests", high=60_000
        ),
        Key(
            "timeout",
            "duration",
            "How long one request may take.",
            "10s",
            unit="duration",
            low=100_000_000,
            high=120 * SECOND_NS,
        ),
        Key("allow_private", "flag", "Whether private, loopback and link-local targets are fine.", "false"),
        Key(
            "headers",
            "headers",
            "Headers of each request; `authorization` and the like come from a file or the environment.",
            shown="none",
        ),
        Key("enabled", "flag", "false keeps the receiver in the file and sends it nothing.", "true"),
    ),
    by_name=True,
)
HEARTBEAT = Section(
    "heartbeat",
    "A regular sign of life: have its receiver alert when it stops.",
    (
        Key("receiver", "receiver", "Name of the receiver that gets it.", required=True),
        Key("every", "duration", "Time between two.", "60s", unit="duration", low=SECOND_NS, high=DAY_NS),
    ),
)
RETENTION = Section(
    "retention",
    "How long history is kept.",
    (
        Key(
            "resolved",
            "duration",
            "Incidents after they were resolved.",
            "90d",
            unit="duration",
            low=HOUR_NS,
            high=3650 * DAY_NS,
        ),
        Key(
            "deliveries",
            "duration",
            "Deliveries after they succeeded or became dead letters.",
            "30d",
            unit="duration",
            low=HOUR_NS,
            high=3650 * DAY_NS,
        ),
    ),
)
QUEUES = Section(
    "queues",
    "Bounds of queues.",
    (
        Key(
            "changes", "whole",
            "Bundles of changes between engine and database; while it is full, the engine does not read its files.",
            "1000", unit="bundles", low=1, high=100_000,
        ),
        Key(
            "events", "whole", "Announcements that one live page may be behind before it is dropped.", "1000",
            unit="announcements", low=1, high=100_000,
        ),
    ),
)  # fmt: skip
SECTIONS = (CHECKPOINT, API, RECEIVERS, HEARTBEAT, RETENTION, QUEUES)
SEALED_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"})
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # RFC 9110, token
LEAST_TOKEN = 16  # characters of the API's token
LARGEST_SECRET = 4_096  # characters
