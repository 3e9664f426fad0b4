"""`watchdog` with a wall clock that a test steps: `-m tests.support.stepped_clock FILE ARGUMENTS...`.

The 8 bytes of FILE are nanoseconds that are added to the machine's time in everything in this process that asks for the
time of day: `time.time`, `time.time_ns`, and `now`, `utcnow` and `today` of `datetime` and `date`. They are replaced
before any of our modules is imported. The monotonic clock is unchanged, as when the machine's clock is stepped.
"""

from __future__ import annotations

import datetime as dt
import mmap
import struct
import sys
import time
from pathlib import Path

FORM = struct.Struct("<q")


def step(file: Path, offset_ns: int) -> None:
    """Set how far the clock of a running process is off. The file is written in place: the process has it mapped."""
    with file.open("r+b" if file.exists() else "w+b") as shared:
        shared.write(FORM.pack(offset_ns))


def replace_clocks(file: Path) -> None:
    """From here on this process has the time of the machine plus what the file says at each call."""
    with file.open("rb") as shared:
        offset = mmap.mmap(shared.fileno(), FORM.size, access=mmap.ACCESS_READ)
    real_ns = time.time_ns

    def time_ns() -> int:
        return real_ns() + int(FORM.unpack(offset[: FORM.size])[0])

    def now_s() -> float:
        return time_ns() / 1e9

    class SteppedDate(dt.date):
        @classmethod
        def today(cls) -> SteppedDate:
            return cls.fromtimestamp(now_s())

    class SteppedDatetime(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> SteppedDatetime:
            return cls.fromtimestamp(now_s(), tz)

        @classmethod
        def utcnow(cls) -> SteppedDatetime:
            return cls.fromtimestamp(now_s(), dt.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls) -> SteppedDatetime:
            return cls.fromtimestamp(now_s())

    time.time, time.time_ns = now_s, time_ns
    dt.date, dt.datetime = SteppedDate, SteppedDatetime  # type: ignore[misc] # for this process only


def main() -> int:
    """Run the command in this process."""
    file, *arguments = sys.argv[1:]
    replace_clocks(Path(file))
    from watchdog.cli.main import main as watchdog

    return watchdog(arguments)


if __name__ == "__main__":
    sys.exit(main())
