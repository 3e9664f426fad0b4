"""Prometheus text format 0.0.4, written by hand: a few counters need no library."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

Type = Literal["counter", "gauge"]
Labels = Mapping[str, str]
_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", '"': '\\"'})
_HELP_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n"})


class Exposition:
    """Families in the order in which they were added; each name once."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, name: str, type_: Type, about: str, samples: Iterable[tuple[Labels, float]]) -> None:
        """One family with its samples; nothing is written for a family without any."""
        rows = [f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
        if rows:
            self._lines += [f"# HELP {name} {about.translate(_HELP_ESCAPES)}", f"# TYPE {name} {type_}", *rows]

    def one(self, name: str, type_: Type, about: str, value: float) -> None:
        """A family with one sample and no labels."""
        self.add(name, type_, about, [({}, value)])

    def text(self) -> str:
        """All of it."""
        return "".join(f"{line}\n" for line in self._lines)


def _labels(labels: Labels) -> str:
    inside = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(value)
