"""What one cut of a capture tree gives: records by folder, and what is known to be lost."""

from __future__ import annotations

from dataclasses import dataclass, field

from watchdog.sources.capture.files import RecordSpan


@dataclass(slots=True, eq=False)
class Damage:
    """A file that lost records: `lost` of them (0: unknown) after `from_us`, found out at `time_us`."""

    folder: str
    from_us: int
    time_us: int
    lost: int
    reason: str


@dataclass(slots=True, eq=False)
class Cut:
    """Parts of each folder (sent, received) taken by one cut; no record before `until_us` follows."""

    folders: dict[str, tuple[list[RecordSpan], list[RecordSpan]]]
    until_us: int
    damage: list[Damage] = field(default_factory=list)
