"""python -m benchmarks [NAME...] [--rounds N] [--quick] [--gate] [--out FILE]: measure, print a table, write JSON.

NAME: a benchmark, or a group of them such as `rules-river` for rules-river-500 and rules-river-5000. Exit 0 even when
a gate is missed, 1 then with --gate, 2 for an unknown name.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from pathlib import Path

from benchmarks.rounds import LEAST_ROUNDS, Row, Settings, SkippedError

RESULTS = Path(__file__).with_name("results.json")
Benchmark = Callable[[Settings], list[Row]]


def _call(module: str, function: str, settings: Settings, *arguments: object) -> list[Row]:
    """Import late, so that one benchmark does not load what another one needs."""
    found: list[Row] = getattr(import_module(f"benchmarks.{module}"), function)(settings, *arguments)
    return found


def _entry(module: str, function: str, *arguments: object) -> Benchmark:
    return lambda settings: _call(module, function, settings, *arguments)


BENCHMARKS: dict[str, Benchmark] = {
    "rules-river-500": _entry("rules", "river", 500),
    "rules-river-5000": _entry("rules", "river", 5_000),
    "rules-python-500": _entry("rules", "python", 500),
    "rules-python-5000": _entry("rules", "python", 5_000),
    "decode-columns": _entry("decode_columns", "measure"),
    "decode-capture": _entry("decode_capture", "measure"),
    "stream": _entry("stream", "measure"),
    "replay": _entry("replay", "measure", "replay"),
    "replay-quiet": _entry("replay", "measure", "replay-quiet"),
    "replay-polls": _entry("replay_polls", "measure"),
    "rpc-addrman": _entry("rpc_addrman", "measure"),
    "fleet-rpc": _entry("fleet_rpc", "measure"),
    "live": _entry("live", "measure"),
    "state": _entry("state", "measure"),
    "checkpoint": _entry("checkpoint", "measure"),
    "start": _entry("start", "measure"),
    "long-silence": _entry("silence", "measure"),
    "many-findings": _entry("findings", "measure"),
    "many-keys": _entry("many_keys", "measure"),
    "store-changes": _entry("store", "changes"),
    "deliveries": _entry("deliveries", "measure"),
    "live-latency": _entry("service", "latency"),
    "history-pages": _entry("store", "pages"),
    "probe-cpu": _entry("probes", "cpu"),
    "probe-loss": _entry("probes", "loss"),
    "probe-node-cost": _entry("probes", "node_cost"),
    "live-probes": _entry("live_probes", "measure"),
    "service-at-rest": _entry("service", "at_rest"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="measure, print a table, write JSON")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--rounds", type=_rounds, default=LEAST_ROUNDS, help="of each measurement (default 5)")
    parser.add_argument("--quick", action="store_true", help="less work: see that it runs, not how fast")
    parser.add_argument("--gate", action="store_true", help="exit 1 when a gate is missed")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the JSON goes (default %(default)s)")
    asked = parser.parse_args(arguments)
    chosen = _chosen(asked.names)
    if isinstance(chosen, str):
        print(chosen, file=sys.stderr)
        return 2
    rows, skipped = _run(chosen, Settings(asked.rounds, asked.quick))
    print()
    for line in table(rows):
        print(line)
    for name, reason in skipped.items():
        print(f"{name}: skipped: {reason}")
    asked.out.write_text(json.dumps([row.as_object() for row in rows], indent=2) + "\n", encoding="utf-8")
    return 1 if asked.gate and any(row.missed for row in rows) else 0


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of rounds, found {text!r}")
    return int(text)


def _chosen(names: Sequence[str]) -> list[str] | str:
    """Return the benchmarks that these names mean, or what is wrong."""
    chosen: dict[str, None] = {}
    for name in names or BENCHMARKS:
        found = [own for own in BENCHMARKS if own == name or own in {f"{name}-500", f"{name}-5000"}]
        if not found:
            near = get_close_matches(name, BENCHMARKS, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(BENCHMARKS)}"
            return f"no benchmark {name!r}{hint}"
        chosen.update(dict.fromkeys(found))
    return list(chosen)


def _run(names: Sequence[str], settings: Settings) -> tuple[list[Row], dict[str, str]]:
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    tell = partial(print, end="", flush=True)
    for number, name in enumerate(names, start=1):
        tell(f"[{number}/{len(names)}] {name} ... ")
        start = time.monotonic()
        try:
            rows += BENCHMARKS[name](settings)
        except SkippedError as reason:
            skipped[name] = str(reason)
            print(f"skipped: {reason}")
        else:
            print(f"{time.monotonic() - start:.0f} s")
    return rows, skipped


def table(rows: Sequence[Row]) -> list[str]:
    """Return the rows for people, one line each."""
    cells = [("name", "ours", "rival", "unit", "ratio", "gate", "", "against")]
    for row in rows:
        gate = "" if row.gate is None else f">= {row.gate:g}"
        ratio = "" if row.ratio is None else _number(row.ratio)
        verdict = "" if row.gate is None else "MISSED" if row.missed else "ok"
        rival = "-" if row.rival is None else _number(row.rival)
        against = f"{row.rival_name} ({row.note})" if row.note else row.rival_name
        cells.append((row.name, _number(row.ours), rival, row.unit, ratio, gate, verdict, against))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    right = {1, 2, 4, 5}
    return [
        "  ".join(
            text.rjust(width) if at in right else text.ljust(width)
            for at, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
