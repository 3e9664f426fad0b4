"""Results to a file or to standard output: whole lines or an error, never half a line."""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from watchdog.cli.exits import BAD_INPUT
from watchdog.core.text import counted, printable
from watchdog.offline.read_once import shown
from watchdog.pipeline.atomic_file import check_place, write_whole

STDOUT = 1
LONGEST = 4_096  # characters of a line: a path on Linux has as many bytes at most


def check_output(out: str) -> None:
    """Raise OSError, with the place, when it cannot be written; called before long work, not after it."""
    if out != "-" and (_is_ordinary(Path(out)) or Path(out).is_dir()):
        check_place(Path(out))


def tell_damage(faults: Iterable[str]) -> int:
    """Print a line on standard error for each damaged file; return the exit code, 0 without any."""
    lines = shown(faults)
    for line in lines:
        sys.stderr.write(f"watchdog: {printable(line, LONGEST)}\n")
    return BAD_INPUT if lines else 0


def warn(lines: Iterable[str]) -> None:
    """Print warnings on standard error, further lines indented; they change no exit code."""
    for line in lines:
        told = "\n  ".join(printable(part, LONGEST) for part in line.split("\n"))
        sys.stderr.write(f"watchdog: warning: {told}\n")


def cut_text(cut: Mapping[str, int]) -> list[str]:
    """Return a line for each rule with too many keys firing at once, by rule."""
    return [
        f"rule {rule}: too many keys fired at once, {counted(count, 'finding')} came together in the incident of "
        "group '*'"
        for rule, count in sorted(cut.items())
    ]


def late_text(late: Mapping[str, int]) -> list[str]:
    """Return lines about events that came too late."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(late.items()))
    return [f"events that came too late were not judged: {kinds}"] if late else []


def write_output(out: str, text: str) -> None:
    """Write all of `text`: an ordinary file is replaced atomically, devices and pipes are written to, `-` is stdout.

    When a disk is full in the middle of standard output's file, the half line is taken back before OSError is raised.
    """
    content = text.encode("utf-8", "backslashreplace")
    if out == "-":
        _write_handle(STDOUT, content)
    elif _is_ordinary(Path(out)):
        write_whole(Path(out), content)
    else:
        handle = os.open(out, os.O_WRONLY)
        try:
            _write_handle(handle, content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, out) from None
        finally:
            os.close(handle)


def _is_ordinary(path: Path) -> bool:
    """Return whether a file may be renamed onto `path`: a plain file, or nothing yet."""
    return path.is_file() or not path.exists()


def _write_handle(handle: int, content: bytes) -> None:
    written = 0
    try:
        while written < len(content):
            written += os.write(handle, content[written : written + (1 << 20)])
    except OSError:
        half = written - (content.rfind(b"\n", 0, written) + 1)
        if half and stat.S_ISREG(os.fstat(handle).st_mode):
            os.ftruncate(handle, os.fstat(handle).st_size - half)
        raise


def add_json_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--json` and `--jsonl` to a command that lists things."""
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="a JSON array instead of a table")
    forms.add_argument("--jsonl", action="store_true", help="JSON lines: one object per line")


def json_line(value: object) -> str:
    """Return a JSON document on one line, in ASCII."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")) + "\n"


def json_text(values: Sequence[object], *, lines: bool) -> str:
    """Return things as JSON lines, or as one array with a line for each."""
    if lines:
        return "".join(map(json_line, values))
    return "[" + ",".join(f"\n{json_line(value)[:-1]}" for value in values) + ("\n]\n" if values else "]\n")
