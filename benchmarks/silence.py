"""long-silence: what a node that was off costs at the next start, by the length of the pause.

Capture and log of one node through all shipped rules, as `watchdog replay` reads them: ten minutes of messages, the
pause, the node's start, ten minutes more, and a damaged record at the end, so that the silence lies before a start and
before a gap. CPU time.
"""

from __future__ import annotations

import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.node import WritingNode
from benchmarks.rounds import Row, Settings, by_cost, cpu_seconds
from watchdog.offline.replay import ReplayOptions, replay

DAY_S = 86_400
PAUSES_S = {"none": 60, "day": DAY_S, "years": 3_650 * DAY_S}
START_US = 1_388_534_400_000_000  # 2014-01-01: ten years later is still in the past
MESSAGES_A_S, ACTIVE_S, QUICK_ACTIVE_S = 20, 600, 30
LEAST_RATIO, MOST_EXTRA_S = 0.5, 1.0


def measure(settings: Settings) -> list[Row]:
    """CPU time with ten years of silence against one day's, and against none."""
    with tempfile.TemporaryDirectory() as folder:
        inputs = {name: _written(Path(folder) / name, pause, settings) for name, pause in PAUSES_S.items()}
        spent: dict[str, list[float]] = {name: [] for name in inputs}
        for number in range(settings.rounds):
            names = list(inputs)
            for name in names if number % 2 else reversed(names):
                spent[name].append(cpu_seconds(lambda name=name: replay(inputs[name], ReplayOptions())))  # type: ignore[misc]
    seconds = {name: statistics.median(times) for name, times in spent.items()}
    extra = max(seconds["years"] - seconds["none"], 1e-3)
    note = f"off for ten years {seconds['years']:.2f} s, a day {seconds['day']:.2f} s, never {seconds['none']:.2f} s"
    return [
        by_cost(
            "long-silence", (seconds["years"], seconds["day"]), "s", "one day of silence", gate=LEAST_RATIO, note=note
        ),
        by_cost("long-silence-extra", (extra, MOST_EXTRA_S), "s", "limit over no silence", gate=1.0, note="ten years"),
    ]


def _written(root: Path, pause_s: int, settings: Settings) -> list[str]:
    """Capture and log with a pause; the sources."""
    active_s = QUICK_ACTIVE_S if settings.quick else ACTIVE_S
    capture = root / "message_capture"
    capture.mkdir(parents=True)
    node = WritingNode(capture, MESSAGES_A_S, 1_000_000, START_US)
    lines = [_start(START_US)]
    for _ in range(active_s):
        node.tick()
    node.rest(pause_s)
    lines.append(_start(node.now_us))
    for _ in range(active_s):
        node.tick()
    log = root / "debug.log"
    log.write_text("".join(lines), encoding="ascii")
    damaged = next(capture.iterdir()) / "msgs_recv.dat"
    with damaged.open("ab") as file:
        file.write(b"\xff" * 24)
    return [f"capture:{capture}", f"log:{log}"]


def _start(time_us: int) -> str:
    """Return the lines that Core writes first when it starts."""
    moment = datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{moment} Bitcoin Core version v27.0.0 (release build)\n"
