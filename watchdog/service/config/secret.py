"""Secrets: from a file or the environment, and never shown."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that must not be shown. origin: where it came from, for people (`file token`, `env TOKEN`).

    `repr`, `str` and every log line show the origin only; `reveal()` is the one way to the value.
    """

    origin: str
    _value: str = field(repr=False, compare=True)

    def reveal(self) -> str:
        """Return the value, for signing and comparing."""
        return self._value

    def __str__(self) -> str:
        return f"<secret from {self.origin}>"
