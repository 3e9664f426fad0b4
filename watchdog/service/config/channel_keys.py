"""Keys of `receivers` for channels. `alerts.delivery.formats` says which format takes which."""

from __future__ import annotations

from typing import Final

from alerts.routing import REDACTIONS
from watchdog.located_yaml.keys import Key
from watchdog.service.config.shapes import Shape

_SEALED: Final = "`file: PATH` or `env: NAME`"
SMTP_KEYS: Final = ("host", "port", "tls", "user", "password")
TLS_KEYS: Final = ("ca", "cert", "key")
ENVELOPES: Final = ("plain", "cloudevents")
CHANNEL_KEYS: tuple[Key[Shape], ...] = (
    Key(
        "envelope",
        "choice",
        "Format `webhook`: `cloudevents` sends a CloudEvent 1.0 in structured mode.",
        shown="`plain`",
        choices=ENVELOPES,
    ),
    Key("token", "secret", f"Formats `slack` and `telegram`: {_SEALED}, the token of the bot.", shown="none"),
    Key("channel", "line", "Format `slack` with `token`: the id of the channel, such as `C0123456789`.", shown="none"),
    Key("routing_key", "secret", f"Format `pagerduty`: {_SEALED}, the integration key.", shown="none"),
    Key("chat", "line", "Format `telegram`: the number of the chat, or the `@name` of a channel.", shown="none"),
    Key("topic", "line", "Format `telegram`: the number of a topic of the group.", shown="none"),
    Key(
        "smtp",
        "smtp",
        "Format `email`: the server, as `{host, port, tls, user, password}`; `tls` is `starttls` (default), `tls` or "
        f"`none`, the password {_SEALED}.",
        shown="none",
    ),
    Key("from", "line", "Format `email`: the sender's address.", shown="none"),
    Key("to", "lines", "Format `email`: address or list of addresses.", shown="none"),
    Key(
        "command",
        "lines",
        "Format `exec`: absolute path of a program and its arguments. It needs `watchdog run --allow-exec`.",
        shown="none",
    ),
    Key("labels", "labels", "Formats for Alertmanager: labels that are added to each alert.", shown="none"),
    Key("proxy", "sealed", "URL of an HTTP proxy for this receiver; with a password, from a file.", shown="none"),
    Key(
        "tls",
        "files",
        "PEM files: `ca` (who may sign the receiver's certificate), `cert` and `key` (shown to the receiver).",
        shown="the system's certificates",
    ),
    Key(
        "redact",
        "choice",
        "How addresses are shown: as they are, as subnets, or as hashes under a key of this house.",
        "none",
        choices=REDACTIONS,
    ),
)
