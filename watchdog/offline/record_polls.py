"""Record a polled node as a snapshots file: its answers, one JSON object a line, which `snapshots:` reads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from watchdog.core.errors import StateError
from watchdog.sources.registry import open_polls, scheme_of
from watchdog.sources.rpc.rounds import Round

ENDING: Final = ".jsonl"  # a packed file would hold back lines, and lose them in a crash
Show = Callable[[int, int | None, int], None]
"""Called after each round: answers so far, the time of the latest (ns), the size of the file."""
_RESULT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class PollsFile:
    """Writes rounds as lines; a line is whole on disk before the next round."""

    def __init__(self, out: Path, show: Show, *, append: bool) -> None:
        """Raise StateError when the file cannot be written, or holds something already and `append` is not set."""
        if out.exists() and out.stat().st_size and not append:
            raise StateError(f"'{out}' exists; remove it, or give --append")
        try:
            self._file = out.open("ab")
        except OSError as error:
            raise StateError(f"'{out}': cannot be written: {(error.strerror or 'failed').lower()}") from error
        self.answers = 0
        self._out, self._show = out, show

    def deliver(self, polls: Round) -> None:
        """Write the answers of a round, in the order of their times."""
        for method, poll in sorted(polls.polls.items(), key=lambda item: item[1].time_ns):
            result = _RESULT.decode(poll.line).get("result")
            if result is not None:
                head = f'{{"time":{poll.time_ns / 1e9:.6f},"kind":"{method}","result":'.encode()
                self._file.write(head + msgspec.json.format(bytes(result), indent=-1) + b"}\n")
                self.answers += 1
        self._file.flush()
        times = [poll.time_ns for poll in polls.polls.values()]
        self._show(self.answers, max(times, default=None), self._out.stat().st_size)

    def quiet(self) -> None:
        """Write nothing: time that passes is no line."""

    def missed(self, from_ns: int, to_ns: int, reason: str) -> None:
        """Write nothing: a time without answers is the distance of two lines."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def has_live(sources: Sequence[str]) -> bool:
    """Return whether a source never ends by itself. Raise SourceError for a text that is no source."""
    return any(scheme_of(text).mode == "live" for text in sources)


def records_polls(sources: Sequence[str], out: Path) -> bool:
    """Return whether these sources are recorded as answers: a single polled one, into a file of that name."""
    return len(sources) == 1 and out.name.endswith(ENDING) and scheme_of(sources[0]).polls is not None


def record_polls(text: str, out: Path, show: Show, *, append: bool) -> int:
    """Poll a node until interrupted, and write its answers to `out`; return their number.

    Raise SourceError for a text that cannot be used, StateError when the file cannot be written.
    """
    file = PollsFile(out, show, append=append)
    try:
        open_polls(text, file).run(threading.Event())
    finally:
        file.close()
    return file.answers
