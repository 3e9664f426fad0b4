"""Tables of keys: one table of a YAML language serves its reader, its JSON Schema and its reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from watchdog.core.durations import exact_duration

ShapeT = TypeVar("ShapeT", bound=str, covariant=True)  # noqa: PLC0105 (the language's own Literal of shapes)
NO_DEFAULT = ""


@dataclass(frozen=True, slots=True)
class Key(Generic[ShapeT]):
    """One key of a YAML language.

    shape: what its values look like; each language names its own shapes. default: as a file would spell it, empty
    without one. shown: the default in words, where they say more. unit: of the value. low, high: bounds of a whole
    number or, in ns, of a duration.
    """

    name: str
    shape: ShapeT
    about: str
    default: str = NO_DEFAULT
    unit: str = ""
    shown: str = ""
    required: bool = False
    choices: tuple[str, ...] = ()
    low: int = 0
    high: int = 0

    @property
    def default_text(self) -> str:
        """The default for people, in Markdown."""
        return "required" if self.required else self.shown or (f"`{self.default}`" if self.default else "none")


def key_rows(keys: Sequence[Key[str]], words: Mapping[str, str], default: Callable[[Key[str]], str]) -> list[str]:
    """Return the lines of a Markdown table: key, value with unit and bounds, default, meaning.

    words: by shape, how to name a value of it. default: the text of a key's default.
    """
    rows = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    return rows + [f"| `{key.name}` | {_value(key, words)} | {default(key)} | {key.about} |" for key in keys]


def _value(key: Key[str], words: Mapping[str, str]) -> str:
    if key.shape in {"choice", "choices"}:
        names = ", ".join(f"`{choice}`" for choice in key.choices)
        return names if key.shape == "choice" else f"list of {names}"
    bounds = f"{exact_duration(key.low)} to {exact_duration(key.high)}"
    if key.shape == "duration":
        return f"duration, {bounds}"
    if key.shape == "whole":
        return f"{key.low} to {key.high} {key.unit}"
    return words[key.shape].format(bounds=bounds)
