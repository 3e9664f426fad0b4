"""The keys of `watchdog.yaml`: one table for the reader, the JSON Schema and docs/CONFIG.md."""

from __future__ import annotations

import re

from alerts.notice import CASE_EVENT_TYPES, EVENT_TYPES
from alerts.routing import DEFAULT_CASE_EVENTS, FORMATS, SUBJECTS
from rules.load import pack_names
from watchdog.core.durations import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS
from watchdog.core.finding import SEVERITIES
from watchdog.located_yaml.keys import Key
from watchdog.service.config.channel_keys import CHANNEL_KEYS
from watchdog.service.config.shapes import Section, Shape
from watchdog.service.log_form import FORMS
from watchdog.sources.registry import syntaxes
from watchdog.sources.shares import ORDER

NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NODES_NODE = re.compile(r"[A-Za-z0-9._-]{1,63}")  # under `nodes`: with `.checkpoint` it is the name of a file
RECEIVER = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
TOKEN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
TOKENS_MOST = 64
ROLES = ("viewer", "operator")
LEVELS = ("debug", "info", "warning", "error")
_SECRET_ORIGIN = "`file: PATH` or `env: NAME`"  # noqa: S105 (the words for where a secret comes from)


_SOURCES = (
    f"Where events come from: {', '.join(syntaxes()[:-1])} or {syntaxes()[-1]}. Live files are followed. A source with "
    "further keys is a mapping that begins with its scheme: `log: FILE`."
)
_ORDER: Key[Shape] = Key(
    "order",
    "choices",
    "Which sources are asked first for the kinds of events that several of them give: schemes, the first one first. "
    "The others follow in the usual order. The next one takes over when a source gives nothing for 30 s.",
    shown=", ".join(f"`{scheme}`" for scheme in ORDER),
    choices=ORDER,
)
TOP = Section(
    "",
    "At the top of the file. Relative paths are relative to the folder of the file.",
    (
        Key(
            "node",
            "text",
            "Name of the only node; events and incidents carry it. Several nodes go into `nodes` instead.",
            "node",
        ),
        Key("sources", "sources", f"{_SOURCES} Required without `nodes`.", shown="none"),
        _ORDER,
        Key("rules", "paths", "Rule files, or folders of *.yaml, after the shipped packs.", shown="none"),
        Key(
            "packs",
            "packs",
            "Which of the shipped packs of rules are used: a list of names. `true` is `[default]`, `false` none. "
            "`peer-observer` has the heuristics and bands of peer-observer.",
            "true",
            choices=pack_names(),
        ),
        Key(
            "tracepoints",
            "tracepoints",
            "Tracepoints beyond Core's, such as those of FIBRE: `PROVIDER:NAME: [FIELD: TYPE, ...]`, all arguments in "
            "order. See [SOURCES.md](SOURCES.md#tracepoints).",
            shown="none",
        ),
        Key(
            "silences",
            "silences",
            "Claims that are held back until a date, see [Silences](#silences-an-entry). Those of a day or a week are "
            "made with `watchdog silences add`.",
            shown="none",
        ),
        Key(
            "maintenance",
            "windows",
            "Times of the week in which notices of cases are held back, see [Maintenance](#maintenance-an-entry).",
            shown="none",
        ),
        Key(
            "except",
            "exceptions",
            "Events that do not count for some rules, see [RULES.md](RULES.md#exceptions). Rule files have them too.",
            shown="none",
        ),
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
            "escalation",
            "escalation",
            "Whom else to notify of cases that stay unacknowledged, see [CASES.md](CASES.md#escalation-and-reminders).",
            shown="none",
        ),
        Key(
            "reminders",
            "reminders",
            "How often to notify again of cases that are open, unacknowledged and firing: a duration by severity, for "
            "this one and those above.",
            shown="none",
            low=MINUTE_NS,
            high=30 * DAY_NS,
        ),
        Key(
            "log_level",
            "choice",
            "The least important lines that are logged. Their times are UTC.",
            "info",
            choices=LEVELS,
        ),
        Key(
            "log_format",
            "choice",
            "What a line of the log is: text, or a JSON object with `time`, `level`, `logger`, `message`, and for an "
            "opened or escalated incident `incident`, `rule`, `severity`, `node`, `attack`.",
            "text",
            choices=FORMS,
        ),
    ),
)
NODES = Section(
    "nodes",
    "Several nodes in one service, each by its name: letters, digits, `.`, `-` and `_`, at most 63. A mistake beside "
    "`node` or `sources`.",
    (
        Key("sources", "sources", _SOURCES, required=True),
        _ORDER,
        Key(
            "recorder",
            "recorder",
            "Recorder of this node alone, with the keys of `recorder`.",
            shown="`recorder`, in a folder of the node's name",
        ),
    ),
    by_name=True,
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
        Key(
            "tokens",
            "tokens",
            "Further tokens, each with a name and a role, at most 64: what is done with one is stored under its name. "
            "A reload brings changes into force.",
            shown="none",
        ),
        Key("public_url", "url", "The page's address for people; goes into alerts.", shown="`http://` and the address"),
    ),
)
TOKEN = Section(
    "api.tokens",
    "A token of one person or program.",
    (
        Key("name", "text", "The name in the story of cases and in the audit: letters, digits, `.-_@`.", required=True),
        Key("role", "choice", "`viewer` may read, `operator` may change too.", required=True, choices=ROLES),
        Key("token", "secret", f"{_SECRET_ORIGIN}: the token, at least 16 characters.", required=True),
    ),
)
RECEIVERS = Section(
    "receivers",
    "The receivers of alerts, each by a name of your choice.",
    (
        Key(
            "url",
            "targets",
            "Where notices go; one with a password or token comes from a file or the environment. For the format "
            "`alertmanager`: Alertmanager's base, such as `http://127.0.0.1:9093`, or a list of all members of the "
            "cluster.",
            shown="required by most formats",
        ),
        Key(
            "format",
            "choice",
            "What is sent, see [WEBHOOKS.md](WEBHOOKS.md); for people [CHANNELS.md](CHANNELS.md).",
            "webhook",
            choices=FORMATS,
        ),
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
        Key(
            "about",
            "choice",
            "What it is notified of: cases, one for each attack, or every incident.",
            "cases",
            choices=SUBJECTS,
        ),
        Key("severity", "choice", "The least severity that is sent.", "warning", choices=SEVERITIES),
        Key(
            "events",
            "choices",
            "The events that are sent, `case.` with `about: cases` and `incident.` with `about: incidents`. There the "
            "default is all but `incident.updated`.",
            shown=", ".join(f"`{one}`" for one in DEFAULT_CASE_EVENTS),
            choices=(*CASE_EVENT_TYPES, *EVENT_TYPES),
        ),
        Key(
            "nodes",
            "nodes",
            "Only changes at these nodes are sent; `*` is what accuses no single node.",
            shown="all",
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
        Key(
            "template",
            "template",
            "A text of your own for the messages of formats for people, see [TEMPLATES.md](TEMPLATES.md).",
            shown="the usual text",
        ),
        Key("enabled", "flag", "false keeps the receiver in the file and sends it nothing.", "true"),
        *CHANNEL_KEYS,
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
RECORDER = Section(
    "recorder",
    "Records what the sources give, beside the watching; off unless given. [RECORDER.md](RECORDER.md) says how.",
    (
        Key(
            "folder",
            "path",
            "The folder of the files; under `nodes` it has a folder for each node. No other watchdog may record there.",
            required=True,
        ),
        Key(
            "keep", "size", "Bytes of all files together; the oldest goes first.", "2GiB", unit="size",
            low=1 << 20, high=1 << 50,
        ),
        Key("kinds", "kinds", "Kinds that are recorded, or beginnings of kinds.", shown="all but `rpc:addrman_entry`"),
        Key(
            "payload",
            "payloads",
            'Bytes of the payload that are recorded with each message, by message type; `"*"` is all other types.',
            shown="none",
        ),
        Key(
            "peers",
            "expression",
            'An expression of `where`, such as `direction == "in"`: of the kinds that have its fields, only events for '
            "which it holds are recorded.",
            shown="all",
        ),
        Key(
            "before",
            "duration",
            "Files of this time before an incident of severity warning and above are kept.",
            "10m",
            unit="duration",
            high=DAY_NS,
        ),
        Key("after", "duration", "The same after it.", "10m", unit="duration", high=DAY_NS),
        Key(
            "keep_incidents",
            "duration",
            "How long they are kept. They take at most half of `keep`.",
            "30d",
            unit="duration",
            low=HOUR_NS,
            high=3650 * DAY_NS,
        ),
    ),
)  # fmt: skip
SECTIONS = (NODES, CHECKPOINT, API, RECEIVERS, HEARTBEAT, RETENTION, QUEUES, RECORDER)
OPTIONAL = (HEARTBEAT.name, RECORDER.name)
"""Sections that are in force only where they are given."""
SEALED_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"})
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # RFC 9110, token
LEAST_TOKEN = 16  # characters of the API's token
LARGEST_SECRET = 4_096  # characters
