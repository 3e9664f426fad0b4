"""Values of `watchdog.yaml` by shape: located nodes in, plain values or located problems out."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from alerts.delivery.headers import is_ours
from alerts.delivery.template import CompiledTemplate
from alerts.escalation import Escalation
from alerts.maintenance import QuietWindow
from alerts.silence import ClaimSilence
from rules.exceptions import ExceptionSource
from rules.load import DEFAULT_PACK
from watchdog.core.declared import Declaration
from watchdog.core.sizes import UNITS_TEXT, exact_size, parse_size
from watchdog.located_yaml import values
from watchdog.located_yaml.keys import Key
from watchdog.located_yaml.nodes import Node, Scalar, Series, Table
from watchdog.located_yaml.problem import Location, Report
from watchdog.located_yaml.suggest import did_you_mean
from watchdog.located_yaml.tracepoints import read_tracepoints
from watchdog.located_yaml.values import parse_integer
from watchdog.service.config.keys import (
    HEADER,
    LARGEST_SECRET,
    LEAST_TOKEN,
    SEALED_HEADERS,
    VARIABLE,
)
from watchdog.service.config.secret import Secret
from watchdog.service.config.settings import ApiToken, RecorderSettings, SourceEntry
from watchdog.service.config.shapes import Shape
from watchdog.service.config.url_secrets import password_part, secret_part
from watchdog.service.first_start import start_before

ConfigValue = (
    str
    | int
    | bool
    | Path
    | Secret
    | RecorderSettings
    | tuple[str, ...]
    | tuple[Path, ...]
    | tuple[Secret, ...]
    | tuple[SourceEntry, ...]
    | Mapping[str, Secret]
    | Mapping[str, Path]
    | Mapping[str, int]
    | tuple[Declaration, ...]
    | tuple[ApiToken, ...]
    | CompiledTemplate
    | tuple[ClaimSilence, ...]
    | tuple[QuietWindow, ...]
    | tuple[ExceptionSource, ...]
    | tuple[Escalation, ...]
)
ORIGINS = ("file", "env")


@dataclass(frozen=True, slots=True)
class Reading:
    """What values are read with: the folder of the file, the environment, and where problems go."""

    folder: Path
    environment: Mapping[str, str]
    report: Report
    hidden: set[int] = field(default_factory=set)  # lines on which a secret stands in the open: never shown


def read_value(key: Key[Shape], node: Node, reading: Reading) -> ConfigValue | None:
    """Read the value of one key but `sources` (see `sources.py`); None with a problem in the report."""
    report = reading.report
    match key.shape:
        case "text" | "receiver":
            return values.text(node, key.name, report) or None
        case "start":
            return _start(node, key, report)
        case "choice":
            return values.choice(node, key.name, key.choices, report)
        case "duration":
            return values.duration(node, key.name, key.low, key.high, report)
        case "whole":
            return values.whole(node, key.name, key.low, key.high, report)
        case "flag":
            return values.boolean(node, key.name, report)
        case "path":
            return _path(node, key.name, reading)
        case "secret":
            return read_secret(node, key.name, reading)
        case "sealed":
            return read_sealed(node, key.name, reading)
        case "listen":
            return _listen(node, key.name, report)
        case "url":
            return _url(node, key.name, report)
        case _:
            return _several(key, node, reading)


def _several(key: Key[Shape], node: Node, reading: Reading) -> ConfigValue | None:
    """Read values that are lists or tables."""
    if key.shape == "headers":
        return _headers(node, key.name, reading)
    if key.shape == "intervals":
        return _intervals(node, key, reading.report)
    if key.shape == "tracepoints":
        return read_tracepoints(node, reading.report)
    if key.shape == "sizes":
        return _sizes(node, key, reading.report)
    if isinstance(node, Scalar) and key.shape == "packs" and node.text in ("true", "false"):
        return (DEFAULT_PACK,) if node.text == "true" else ()
    if key.shape == "secrets":
        items = node.items if isinstance(node, Series) else (node,)
        found = [read_secret(item, key.name, reading) for item in items]
        return tuple(one for one in found if one is not None)
    words = {
        "paths": "a path or a list of paths",
        "nodes": "a node or a list of nodes",
        "packs": "true, false or a list of packs",
    }
    scalars = values.scalars(node, key.name, words.get(key.shape, "a list"), reading.report)
    if key.shape == "nodes":
        return tuple(dict.fromkeys(one.text for one in scalars))
    if key.shape == "paths":
        return tuple(reading.folder / one.text for one in scalars)
    chosen = [values.choice(one, key.name, key.choices, reading.report) for one in scalars]
    return tuple(dict.fromkeys(one for one in chosen if one is not None))


def _start(node: Node, key: Key[Shape], report: Report) -> str | None:
    """Read `now`, `beginning` or a duration between the bounds of the key."""
    text = node.text if isinstance(node, Scalar) else ""
    try:
        start_before(text, 0)
    except ValueError:
        hint = f"write now, beginning, or how long ago ({key.name}: 2h), from 1m to 365d"
        report.error(node.place, f"bad value of '{key.name}'" + (f": '{text[:80]}'" if text else ""), hint)
        return None
    return text


def _path(node: Node, name: str, reading: Reading) -> Path | None:
    text = values.text(node, name, reading.report)
    return reading.folder / text if text else None


def read_secret(node: Node, name: str, reading: Reading) -> Secret | None:
    """Read `{file: PATH}` or `{env: NAME}`; a secret written in the open is neither used nor shown."""
    report = reading.report
    if not isinstance(node, Table):
        hint = "write {file: PATH} or {env: NAME}; a secret does not belong in this file"
        report.error(hidden(node.place, reading), f"'{name}' must name a file or an environment variable", hint)
        return None
    if len(node.entries) != 1 or node.entries[0].key.text not in ORIGINS:
        report.error(node.place, f"'{name}' must have one key, file or env")
        return None
    entry = node.entries[0]
    text = values.text(entry.value, entry.key.text, report)
    if not text:
        return None
    if entry.key.text == "env":
        return _from_environment(text, entry.value.place, reading)
    return _from_file(text, entry.value.place, reading)


def _from_environment(text: str, place: Location, reading: Reading) -> Secret | None:
    if not VARIABLE.fullmatch(text):
        reading.report.error(hidden(place, reading), "not the name of an environment variable")
        return None
    found = reading.environment.get(text)
    if found is None or not found.strip():
        close = did_you_mean(text, [one for one in reading.environment if one.isupper()])
        reading.report.error(
            place, f"environment variable '{text}' is {'not set' if found is None else 'empty'}", close
        )
        return None
    return _checked(Secret(f"environment variable {text}", found.strip()), place, reading.report)


def _from_file(text: str, place: Location, reading: Reading) -> Secret | None:
    path, report = reading.folder / text, reading.report
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            raw = file.read(LARGEST_SECRET + 1)
    except OSError as error:
        report.error(place, f"secret file '{text}' cannot be read: {(error.strerror or 'failed').lower()}")
        return None
    if mode & 0o077:
        report.warn(place, f"secret file '{text}' can be read by others (mode {mode:03o})", f"chmod 600 '{text}'")
    found = raw.decode("utf-8-sig", "replace").strip()
    if not found:
        report.error(place, f"secret file '{text}' is empty")
        return None
    return _checked(Secret(f"file {text}", found), place, report)


def _checked(secret: Secret, place: Location, report: Report) -> Secret | None:
    value = secret.reveal()
    if len(value) > LARGEST_SECRET:
        report.error(place, f"the secret is longer than {LARGEST_SECRET} characters")
    elif not value.isprintable() or "\ufffd" in value:
        report.error(place, "the secret holds a line break or another character that does not belong there")
    else:
        return secret
    return None


def read_sealed(node: Node, name: str, reading: Reading) -> Secret | None:
    """Read a URL, in the open or, when it holds a secret, from a file or the environment."""
    if isinstance(node, Table):
        return read_secret(node, name, reading)
    found = values.scalar(node, name, "a URL, or {file: PATH} or {env: NAME}", reading.report)
    if found is None:
        return None
    try:
        secret = secret_part(found.text) if name == "url" else password_part(found.text)
    except ValueError:
        reading.report.error(hidden(node.place, reading), f"'{name}' is not a URL")
        return None
    if secret:
        hint = "put the whole URL into a file and write {file: PATH}, or {env: NAME}"
        reading.report.error(hidden(node.place, reading), f"'{name}' {secret}", hint)
        return None
    return Secret("the configuration", found.text)


def _listen(node: Node, name: str, report: Report) -> str | None:
    """Read `address:port` with a literal address, IPv6 in brackets."""
    found = scalar = values.scalar(node, name, "an address and a port such as 127.0.0.1:8380", report)
    if scalar is None or found is None:
        return None
    host, _, port = found.text.rpartition(":")
    number = parse_integer(port)
    try:
        ipaddress.ip_address(split_listen(found.text)[0])
    except ValueError:
        hint = "127.0.0.1:8380, 0.0.0.0:8380 or [::1]:8380"
        report.error(node.place, f"'{name}' must be an IP address and a port, not '{found.text[:60]}'", hint)
        return None
    if number is None or not 0 <= number <= 65_535:
        report.error(node.place, f"port of '{name}' must be 0 to 65535, not '{port[:20]}'")
        return None
    return f"{host}:{number}"


def split_listen(text: str) -> tuple[str, int]:
    """Return host without brackets and port of `address:port`; ValueError without a port number."""
    host, _, port = text.rpartition(":")
    return (host[1:-1] if host.startswith("[") and host.endswith("]") else host), int(port or "x", 10)


def _url(node: Node, name: str, report: Report) -> str | None:
    found = values.scalar(node, name, "a URL", report)
    if found is None:
        return None
    try:
        parts = urlsplit(found.text)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
    except ValueError:
        fine = False
    if not fine or not found.text.isprintable() or " " in found.text:
        report.error(node.place, f"'{name}' must be a URL that begins with http:// or https://")
        return None
    return found.text.rstrip("/")


def _headers(node: Node, name: str, reading: Reading) -> Mapping[str, Secret] | None:
    table = values.table(node, name, reading.report)
    if table is None:
        return None
    found: dict[str, Secret] = {}
    for entry in table.entries:
        header = entry.key.text.lower()
        if not HEADER.fullmatch(header):
            reading.report.error(entry.key.place, "not the name of a header")
        elif is_ours(header):
            reading.report.error(entry.key.place, f"header '{header}' is set by the watchdog itself")
        elif header in found:
            reading.report.error(entry.key.place, f"header '{header}' is given twice", "upper and lower case are one")
        elif isinstance(entry.value, Table):
            secret = read_secret(entry.value, header, reading)
            found |= {header: secret} if secret else {}
        elif header in SEALED_HEADERS:
            hint = "write {file: PATH} or {env: NAME}"
            reading.report.error(hidden(entry.value.place, reading), f"header '{header}' holds a secret", hint)
        else:
            found[header] = Secret("the configuration", values.text(entry.value, header, reading.report))
    return found


def _intervals(node: Node, key: Key[Shape], report: Report) -> Mapping[str, int] | None:
    """Read a table of the key's choices with durations in ns; `off` is 0."""
    table = values.table(node, key.name, report)
    if table is None:
        return None
    found: dict[str, int] = {}
    for entry in table.entries:
        name = entry.key.text
        if name not in key.choices:
            hint = did_you_mean(name, key.choices, "calls")
            report.error(entry.key.place, f"unknown call '{name[:80]}' in '{key.name}'", hint)
        elif isinstance(entry.value, Scalar) and entry.value.text == "off":
            found[name] = 0
        elif (value := values.duration(entry.value, name, key.low, key.high, report)) is not None:
            found[name] = value
    return found


def _sizes(node: Node, key: Key[Shape], report: Report) -> Mapping[str, int] | None:
    """Read a table with a size in bytes for each of the key's choices."""
    table = values.table(node, key.name, report)
    if table is None:
        return None
    found: dict[str, int] = {}
    for entry in table.entries:
        name = entry.key.text
        if name not in key.choices:
            report.error(
                entry.key.place, f"unknown key '{name[:80]}' in '{key.name}'", did_you_mean(name, key.choices, "keys")
            )
            continue
        scalar = values.scalar(entry.value, name, "a size such as 1GiB", report)
        size = None if scalar is None else parse_size(scalar.text)
        if scalar is not None and size is None:
            hint = f"a number with {UNITS_TEXT}, such as 500MiB"
            report.error(entry.value.place, f"'{name}' is not a size: '{scalar.text[:60]}'", hint)
        elif size is not None and not key.low <= size <= key.high:
            report.error(entry.value.place, f"'{name}' must be {exact_size(key.low)} to {exact_size(key.high)}")
        elif size is not None:
            found[name] = size
    for name in key.choices:
        if not any(entry.key.text == name for entry in table.entries):
            report.error(table.place, f"'{key.name}' lacks '{name}'", f"write {{{name}: 1GiB}}")
    return found


def check_token(secret: Secret, place: Location, report: Report) -> None:
    """Report a token that is short enough to guess."""
    if len(secret.reveal()) < LEAST_TOKEN:
        report.error(place, f"the token is shorter than {LEAST_TOKEN} characters")


def hidden(place: Location, reading: Reading) -> Location:
    """Return the place, and hide its line from all problems: it may hold a secret."""
    reading.hidden.add(place.line)
    return place
