"""What was read of one table of `watchdog.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from watchdog.located_yaml.problem import Location
from watchdog.service.config.values import ConfigValue

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """The values of one table with defaults filled in, and where each was written."""

    values: Mapping[str, ConfigValue]
    places: Mapping[str, Location]
    place: Location

    def get(self, name: str, type_: type[T]) -> T:
        """Return a value that is required or has a default, of the type of the key's shape."""
        value = self.values[name]
        assert isinstance(value, type_)
        return value

    def maybe(self, name: str, type_: type[T]) -> T | None:
        """Return a value; None when missing."""
        value = self.values.get(name)
        assert value is None or isinstance(value, type_)
        return value

    def where(self, name: str) -> Location:
        """Return the value's place; for a default, that of the table."""
        return self.places.get(name, self.place)
