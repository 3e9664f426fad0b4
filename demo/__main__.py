"""`make demo`: replay the recording that ships with the project, show the incidents and what they say of the labels."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from alerts.incident import duration_text
from rules.load import load
from watchdog.cli.progress import ProgressBar
from watchdog.core.errors import WatchdogError
from watchdog.service.evaluate import LabelScore, RecordingScore, score
from watchdog.service.labels import read_labels
from watchdog.service.replay import Progress, ReplayOptions, ReplayResult, replay
from watchdog.service.whole_file import write_whole

HERE = Path(__file__).resolve().parent
RECORDING = HERE / "recording"
OUT = HERE / "out" / "incidents.jsonl"
NAME_WIDTH, DELAY_WIDTH = 24, 9  # columns of the table of attacks; the rest belongs to the rules
WIDEST = 140  # columns; longer lines are hard to read
EXIT_BAD_INPUT, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 2, 130, 141

NEXT = """\
Next, after `. .venv/bin/activate`:
  watchdog rules list             what is watched for; docs/rules/ explains each
  watchdog replay recording:{recording} --table    this table again, by hand
  README.md, "Tune a rule"        change a threshold, replay, see the difference
"""


def main(argv: Sequence[str]) -> int:
    """Run the demo; 0, or 2 with one line when recording, rules or disk refuse; 130 and 141 as `watchdog` has them."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="where the JSON lines go")
    out = parser.parse_args(argv).out
    try:
        show(out)
        sys.stdout.flush()
    except WatchdogError as error:
        return refused(error.in_one_line())
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at exit
        return EXIT_BROKEN_PIPE
    except OSError as error:
        return refused(f"'{error.filename or 'standard output'}': {(error.strerror or str(error)).lower()}")
    return 0


def refused(message: str) -> int:
    """Say in one line what went wrong."""
    sys.stderr.write(f"demo: {message}\n")
    return EXIT_BAD_INPUT


def show(out: Path) -> None:
    """Replay, write the JSON lines to `out`, print everything else. WatchdogError and OSError as they come."""
    width = min(shutil.get_terminal_size().columns, WIDEST)
    labels = read_labels(RECORDING / "labels.json")
    rules = len(load(()).plans)
    print("A Bitcoin Core node under attack, recorded in a closed test network.")
    print(f"Source recording:{near(RECORDING)}, {rules} shipped rules.\n")
    result = replayed()
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, result.lines().encode())
    spent = (result.last_event_ns or 0) - (result.first_event_ns or 0)
    print(f"Incidents in {duration_text(spent)} of the node's time ({result.events:,} events):\n")
    print(result.table(width, colour=coloured()))
    print(attacks_table(score(RECORDING.name, labels, result), width))
    print(f"With their evidence, as JSON lines: {near(out)}\n")
    print(NEXT.format(recording=near(RECORDING)), end="")


def replayed() -> ReplayResult:
    """The recording through all shipped rules, with a progress bar on a terminal."""
    bar = ProgressBar()

    def tell(step: Progress) -> None:
        bar.show(step.share, step.time_ns, step.events, step.incidents)

    try:
        return replay([f"recording:{near(RECORDING)}"], ReplayOptions(), progress=tell)
    finally:
        bar.clear()


def attacks_table(scored: RecordingScore, width: int) -> str:
    """Which labelled attacks were found, how soon after their start, and by which rules; at most `width` columns."""
    attacks = [one for one in scored.labels if not one.benign]
    lines = [f"{'WHAT REALLY HAPPENED':<{NAME_WIDTH}}{'FOUND':<{DELAY_WIDTH}}BY RULE"]
    for one in attacks:
        lines += attack_rows(one, width)
    found, named = sum(one.found for one in attacks), sum(one.named for one in attacks)
    needless = len(scored.unlabelled)
    lines += ["", f"{found} of {len(attacks)} attacks found, an attacker named in {named}."]
    lines.append(f"{needless or 'No'} incident{'' if needless == 1 else 's'} of warning or above without an attack.")
    return "\n".join(lines) + "\n"


def attack_rows(one: LabelScore, width: int) -> list[str]:
    """One attack: its name, the delay, and the rules that name an attacker, on as many lines as they need.

    Where none does, those that speak of it at all. The delay is theirs, not that of an incident that was open before.
    """
    primary = [match for match in one.matches if match.primary] or one.matches
    told = [match.incident for match in primary if match.named] or [match.incident for match in primary]
    delay_ns = min((incident.opened_ns for incident in told), default=0) - int(one.label.start * 1e9)
    when = f"in {duration_text(delay_ns)}" if told else "missed"
    rules = ", ".join(dict.fromkeys(incident.rule for incident in told)) or "-"
    indent = NAME_WIDTH + DELAY_WIDTH
    first, *rest = textwrap.wrap(rules, max(width - indent, 20), break_on_hyphens=False)
    name = one.label.attack if len(one.label.attack) < NAME_WIDTH else f"{one.label.attack[: NAME_WIDTH - 4]}... "
    return [f"{name:<{NAME_WIDTH}}{when:<{DELAY_WIDTH}}{first}", *(" " * indent + line for line in rest)]


def near(path: Path) -> str:
    """A path as short as it can be said from the current folder."""
    short = Path(os.path.relpath(path))
    return str(path if ".." in short.parts else short)


def coloured() -> bool:
    """Whether standard output is a terminal that wants colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
