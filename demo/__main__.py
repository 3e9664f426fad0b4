"""`make demo`: watch the recording that ships with the project, as the service does, and show what comes of it."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from demo.service import Running, claimed, logged, running
from demo.texts import alert_lines, attacks_table, coloured, event_time, near
from rules.load import load
from watchdog.cli.exits import BAD_INPUT, BROKEN_PIPE, INTERRUPTED
from watchdog.cli.progress import ProgressBar
from watchdog.core.durations import rough_duration
from watchdog.core.errors import ServiceError, WatchdogError
from watchdog.offline.evaluate import score
from watchdog.offline.labels import read_labels
from watchdog.offline.replay import ReplayResult
from watchdog.pipeline.atomic_file import write_whole

HERE = Path(__file__).resolve().parent
RECORDING = HERE / "recording"
OUT = HERE / "out" / "incidents.jsonl"
WIDEST = 140  # columns; longer lines are hard to read
LOOK_S = 0.05  # between two looks at what has arrived
PATIENCE_S = 300.0  # a slow machine needs less than a minute

NEXT = """\
Next, after `. .venv/bin/activate`:
  watchdog cases list --db {database}
  watchdog incidents list --db {database}
  watchdog rules list             what is watched for; docs/rules/ explains each
  watchdog replay recording:{recording} --table    this table again, by hand
  README.md                       tune a rule, watch a node of your own
"""


def main(argv: Sequence[str]) -> int:
    """Run the demo; 0, or 2 with one line when recording, rules or disk refuse; 130 and 141 as `watchdog` has them."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="where the JSON lines go")
    parser.add_argument("--once", action="store_true", help="end after the last alert, on a terminal too")
    args = parser.parse_args(argv)
    try:
        with claimed(args.out.parent) as folder, logged(folder / "log"):
            whole = asyncio.run(show(folder, args.out, stay=sys.stdout.isatty() and not args.once))
        sys.stdout.flush()
    except WatchdogError as error:
        return refused(error.in_one_line())
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at exit
        return BROKEN_PIPE
    except OSError as error:
        return refused(f"'{error.filename or 'standard output'}': {(error.strerror or str(error)).lower()}")
    return 0 if whole else INTERRUPTED


def refused(message: str) -> int:
    """Say in one line what went wrong."""
    sys.stderr.write(f"demo: {message}\n")
    return BAD_INPUT


async def show(folder: Path, out: Path, *, stay: bool) -> bool:
    """Watch, tell, and stay until told to end if wanted; False when ended before everything was shown.

    WatchdogError and OSError as they come.
    """
    print("A Bitcoin Core node under attack, recorded in a closed test network.")
    print(f"Source recording:{near(RECORDING)}, {len(load(()).plans)} shipped rules.\n")
    async with running(folder, RECORDING) as service:
        print(f"The service watches; page and API on {service.url}")
        print("Notices that reached a receiver, one for each attack. They are listed by the")
        print("recording's time (UTC); a high one is sent before an earlier warning.\n", flush=True)
        if not await watched(service):
            return False
        result = service.result()
        write_whole(out, result.lines().encode())
        report(service, result, out, folder)
        if stay:
            print(f"\nopen {service.url}/cases , Ctrl-C ends", flush=True)
            while not await service.pause(3600.0):
                continue
    if stay:
        print("\nEnded.")
    return True


async def watched(service: Running) -> bool:
    """Wait for the last alert with a progress bar, and print all; False when the service was stopped."""
    bar = ProgressBar()
    labels = read_labels(RECORDING / "labels.json")
    start_s, span_s = labels[0].start, max(label.end for label in labels) - labels[0].start
    clock = asyncio.get_running_loop().time
    end_s = clock() + PATIENCE_S
    try:
        while True:
            if await service.delivered():
                return True
            watch = service.daemon.engine.watch
            share = ((watch.last_event_ns or 0) / 1e9 - start_s) / span_s
            bar.show(min(max(share, 0.0), 1.0), watch.last_event_ns, watch.events, service.opened)
            if await service.pause(LOOK_S):
                return False
            if clock() > end_s:
                raise ServiceError(f"not everything was delivered within {PATIENCE_S:.0f} s; see the service's log")
    finally:
        bar.clear()
        for arrival in sorted(service.arrivals, key=event_time):  # of one time: as they came
            print(alert_lines(arrival, colour=coloured()))
        sys.stdout.flush()


def report(service: Running, result: ReplayResult, out: Path, folder: Path) -> None:
    """Print the incidents, the attacks, and where to look next."""
    width = min(shutil.get_terminal_size().columns, WIDEST)
    arrivals = service.arrivals
    verified, ids = sum(one.verified is True for one in arrivals), len({one.id for one in arrivals})
    print(f"\n{len(arrivals)} webhooks arrived, {verified} with the right signature, {ids} different ids.\n")
    print("The same in a chat (format slack): a thread for each case, first lines only.\n")
    print(service.chat.lines(width))
    spent = (result.last_event_ns or 0) - (result.first_event_ns or 0)
    print(f"Incidents in {rough_duration(spent)} of the node's time ({result.events:,} events):\n")
    print(result.table(width, colour=coloured()))
    print("Incidents of one attack make one case:\n")
    print(result.cases_table(width, colour=coloured()))
    print(attacks_table(score(RECORDING.name, read_labels(RECORDING / "labels.json"), result), width))
    print(f"With their evidence, as JSON lines: {near(out)}\n")
    database = near(folder / "watchdog.db")
    print(NEXT.format(recording=near(RECORDING), database=database), end="", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
