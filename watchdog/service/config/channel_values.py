"""Values of the keys of channels: located nodes in, plain values or located problems out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from alerts.delivery.mail import TLS
from watchdog.located_yaml import values
from watchdog.located_yaml.keys import Key
from watchdog.located_yaml.nodes import Node, Series, Table
from watchdog.located_yaml.suggest import did_you_mean
from watchdog.service.config.channel_keys import SMTP_KEYS, TLS_KEYS
from watchdog.service.config.secret import Secret
from watchdog.service.config.shapes import Shape
from watchdog.service.config.values import ConfigValue, Reading, read_sealed, read_secret

SHAPES: Final = frozenset({"targets", "line", "lines", "smtp", "files", "labels"})
LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")  # of Prometheus, shorter
OURS: Final = frozenset({"alertname", "node", "case", "incident", "severity", "attack"})
MOST: Final = 100  # items of a list, labels
OPEN: Final = "the configuration"


def read_channel_value(key: Key[Shape], node: Node, reading: Reading) -> ConfigValue | None:
    """Read the value of one key whose shape is in `SHAPES`; None with a problem in the report."""
    report = reading.report
    match key.shape:
        case "targets":
            items = node.items if isinstance(node, Series) else (node,)
            found = [read_sealed(item, key.name, reading) for item in items[:MOST]]
            return tuple(one for one in found if one is not None) or None
        case "line":
            return values.text(node, key.name, report) or None
        case "lines":
            texts = [one.text for one in values.scalars(node, key.name, "text or a list of text", report)]
            if len(texts) > MOST or any(len(one) > values.LONGEST_TEXT for one in texts):
                report.error(node.place, f"'{key.name}' is too long: at most {MOST} texts")
                return None
            return tuple(texts) or None
        case "smtp":
            return _smtp(node, key.name, reading)
        case "files":
            return _files(node, key.name, reading)
        case _:
            return _labels(node, key.name, reading)


def _smtp(node: Node, name: str, reading: Reading) -> Mapping[str, Secret] | None:
    """Read a server; user and password may be secrets, and the password must be one."""
    table = _known(node, name, SMTP_KEYS, reading)
    if table is None:
        return None
    found: dict[str, Secret] = {}
    for entry in table.entries:
        key, report = entry.key.text, reading.report
        if key == "password" or (key == "user" and isinstance(entry.value, Table)):
            secret = read_secret(entry.value, key, reading)
            found |= {key: secret} if secret else {}
        elif key == "port":
            port = values.whole(entry.value, key, 1, 65_535, report)
            found |= {key: Secret(OPEN, str(port))} if port else {}
        elif key == "tls":
            way = values.choice(entry.value, key, TLS, report)
            found |= {key: Secret(OPEN, way)} if way else {}
        elif key in SMTP_KEYS:
            found[key] = Secret(OPEN, values.text(entry.value, key, report))
    if all(entry.key.text != "host" for entry in table.entries):
        reading.report.error(table.place, f"'{name}' lacks 'host'", "write smtp: {host: mail.example.org}")
    return found


def _files(node: Node, name: str, reading: Reading) -> Mapping[str, Path] | None:
    table = _known(node, name, TLS_KEYS, reading)
    if table is None:
        return None
    known = [one for one in table.entries if one.key.text in TLS_KEYS]
    texts = {one.key.text: values.text(one.value, one.key.text, reading.report) for one in known}
    if "key" in texts and "cert" not in texts:
        reading.report.error(table.place, "'key' without 'cert'", "name the certificate that it belongs to")
    return {key: reading.folder / text for key, text in texts.items() if text}


def _labels(node: Node, name: str, reading: Reading) -> Mapping[str, Secret] | None:
    table, report = values.table(node, name, reading.report), reading.report
    found: dict[str, Secret] = {}
    for entry in table.entries[:MOST] if table else ():
        label = entry.key.text
        if not LABEL.fullmatch(label) or label.startswith("__"):
            report.error(entry.key.place, f"not the name of a label: '{label[:60]}'", "letters, digits and _")
        elif label in OURS:
            report.error(entry.key.place, f"label '{label}' is set by the watchdog itself")
        else:
            found[label] = Secret(OPEN, values.text(entry.value, label, report))
    return found


def _known(node: Node, name: str, keys: tuple[str, ...], reading: Reading) -> Table | None:
    """Return a table, and report keys that it may not have."""
    table = values.table(node, name, reading.report)
    for entry in table.entries if table else ():
        if entry.key.text not in keys:
            hint = did_you_mean(entry.key.text, keys, "keys")
            reading.report.error(entry.key.place, f"unknown key '{entry.key.text[:80]}' in '{name}'", hint)
    return table
