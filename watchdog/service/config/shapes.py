"""What the values of `watchdog.yaml` look like, and its tables of keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from watchdog.located_yaml.keys import Key

Shape = Literal[
    "start", "text", "path", "paths", "sources", "choice", "choices", "duration", "whole", "flag", "listen", "url",
    "secret", "secrets", "sealed", "headers", "receiver", "intervals", "sizes", "nodes", "packs", "tracepoints", "size",
    "kinds", "payloads", "expression", "recorder", "targets", "line", "lines", "smtp", "files", "labels",
    "template", "tokens", "silences", "windows", "exceptions", "words", "date", "clock",
    "escalation", "reminders",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the file. by_name: its keys are names that people choose, each with a table of these keys."""

    name: str
    about: str
    keys: tuple[Key[Shape], ...]
    by_name: bool = False
