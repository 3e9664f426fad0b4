"""Secrets in a URL that is written in the open: in its user part, its path and its query.

Chat services and incident desks put the key to a channel into the path of its URL. Anyone who reads it can post there,
so it comes from a file or the environment, like every other secret.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_HOSTS: tuple[str, ...] = (
    "hooks.slack.com",
    "hooks.slack-gov.com",
    "discord.com",
    "discordapp.com",
    "api.telegram.org",
    "webhook.office.com",  # Teams: connectors, each below a name of its tenant
    "outlook.office.com",
    "outlook.office365.com",
    "logic.azure.com",  # Teams: workflows, here and in the clouds of governments
    "logic.azure.us",
    "logic.azure.cn",
    "api.powerplatform.com",
    "chat.googleapis.com",
    "hooks.zapier.com",
    "maker.ifttt.com",
    "events.pagerduty.com",
    "alert.victorops.com",
)
"""Services whose URLs hold a secret; names below these count too. From the services' own pages on incoming webhooks."""
_NO_SECRET: frozenset[tuple[str, str]] = frozenset({("events.pagerduty.com", "/v2/enqueue")})  # its key is in the body
_LONG = re.compile(r"[A-Za-z0-9]{20,}")  # letters and digits in a row; a UUID has at most 12
_SECRET_NAMES = re.compile(
    r"(^|[_.-])(access|api|auth)?[_.-]?(token|key|secret|sig|signature|password|passwd|pwd|pass|code|auth|credential)s?$",
    re.IGNORECASE,
)


def secret_part(url: str) -> str:
    """Return which part of a URL is a secret, in words that do not show it; empty when none seems to be.

    ValueError when it is not a URL.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        return "holds a password" if parts.password is not None else "holds a user name"
    host = (parts.hostname or "").rstrip(".")
    path = unquote(parts.path)
    if any(host == one or host.endswith(f".{one}") for one in _HOSTS) and _says_more(parts, host, path):
        return f"holds a secret in its path, as all URLs of {host} do"
    if any(_LONG.search(segment) for segment in path.split("/")):
        return "seems to hold a secret in its path: 20 or more letters and digits in a row"
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if (value and _SECRET_NAMES.search(name)) or _LONG.search(value) or _LONG.search(name):
            return "seems to hold a secret in its query"
    return ""


def password_part(url: str) -> str:
    """Return the same for a URL with a public path, such as a database's; its query may hold libpq's password."""
    parts = urlsplit(url)
    named = any(name in ("password", "sslpassword") for name, _ in parse_qsl(parts.query))
    return "holds a password" if named or parts.password is not None else ""


def _says_more(parts: SplitResult, host: str, path: str) -> bool:
    """Return whether the URL is more than the service's own page."""
    return bool(path.strip("/") or parts.query) and (host, path.rstrip("/")) not in _NO_SECRET
