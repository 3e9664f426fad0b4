"""`watchdog tracepoints`: the probes of a binary, and which kinds of events they give."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from watchdog.cli.arguments import add_declaring_argument, declare_kinds
from watchdog.core.declared import declared
from watchdog.core.errors import SourceError
from watchdog.core.text import counted, printable
from watchdog.extract.elf import Probe, TracedBinary, program_of, read_binary
from watchdog.extract.releases import PATCHED, TraceOffer, Tracepoint, in_order, offer_of

SUMMARY = "List the tracepoints of a node's binary, and the kinds of events that they supply and lack."
MACHINES: Final = {"EM_X86_64": "x86-64", "EM_AARCH64": "aarch64", "EM_386": "x86", "EM_ARM": "arm"}
MOST_LISTED: Final = 500  # probes; a node has 22
LONGEST: Final = 160  # characters of a place
LONGEST_PATH: Final = 4_096  # characters; a path on Linux has as many bytes at most


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("path", nargs="?", type=Path, metavar="PATH", help="a binary, such as /usr/bin/bitcoind")
    what.add_argument("--pid", type=_pid, metavar="N", help="the program of this process")
    add_declaring_argument(parser)
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the tracepoints; SourceError for a file that has none or is not readable, ConfigError for declarations."""
    declare_kinds(args.config)
    path = args.path if args.pid is None else program_of(args.pid)
    binary, label = read_binary(path), _label(args.pid, str(path))
    if not binary.probes:
        reason = binary.faults[0] if binary.faults else "no tracepoints: it was built without USDT (sys/sdt.h)"
        raise SourceError(f"{label if args.pid is not None else repr(label)}: {reason}")
    offer = offer_of(binary, declared())
    if args.json:
        sys.stdout.write(json.dumps(_as_data(binary, offer), indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(label, binary, offer)) + "\n")
    return 0


def declaration_line(name: str, probe: Probe) -> str:
    """Return a line of YAML that declares a probe; every argument that may be an address is left a number."""
    fields = [f"arg{at}: {one.type or 'u64'}" for at, one in enumerate(probe.arguments, 1)]
    return f"{printable(name)}: [{', '.join(fields)}]"


def _pid(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not number:
        raise argparse.ArgumentTypeError(f"'{printable(text)}' is no process id")
    return number


def _label(pid: int | None, path: str) -> str:
    """Return how a binary is named: a process with its program, or the path."""
    if pid is None:
        return printable(path, LONGEST_PATH)
    try:
        return f"process {pid}, {printable(str(Path(path).readlink()), LONGEST_PATH)}"
    except OSError:  # it has ended meanwhile
        return f"process {pid}"


def _lines(label: str, binary: TracedBinary, offer: TraceOffer) -> Iterator[str]:
    sites = in_order(binary.sites())
    machine = MACHINES.get(binary.machine, binary.machine)
    yield (
        f"{label}: {machine}, release {offer.releases.text}, "
        f"{counted(len(sites), 'tracepoint')} at {counted(len(binary.probes), 'place')}"
    )
    for name, places in list(sites.items())[:MOST_LISTED]:
        yield ""
        yield from _probe_lines(name, places, offer)
    if len(sites) > MOST_LISTED:
        yield f"\n{len(sites) - MOST_LISTED} more tracepoints; --json lists all"
    yield ""
    yield from _kind_lines(offer)
    yield from _unknown_lines(sites, offer)
    yield from (f"not readable: {fault}" for fault in binary.faults[:5])


def _probe_lines(name: str, places: Sequence[Probe], offer: TraceOffer) -> Iterator[str]:
    first = places[0]
    gate = f"semaphore {first.semaphore:#x}" if first.semaphore else "no semaphore"
    where = "" if len(places) == 1 else f", {len(places)} places"
    yield f"{printable(name)}  ({gate}{where})"
    known = offer.kinds.get(name)
    for at, one in enumerate(first.arguments):
        place = f"{one.where} {printable(one.place, LONGEST)}"
        yield f"  {at + 1:>2}  {one.type or '?':<4} {place:<24} {_meaning(known, at)}".rstrip()
    if name in offer.faults:
        yield f"  not read: {offer.faults[name]}"
    if known is not None:
        yield from (f"  {field} is left out: {reason}" for field, reason in known.left_out.items())


def _meaning(known: Tracepoint | None, at: int) -> str:
    if known is None or at >= len(known.inputs):
        return ""
    one = known.inputs[at]
    return f"{one.form} {one.field}" if one.field else f"{one.form}, not used"


def _kind_lines(offer: TraceOffer) -> Iterator[str]:
    yield f"gives: {', '.join(offer.kinds) or 'none of the kinds of the catalogue'}"
    if any(kind.endswith("bound_message") for kind in offer.kinds):
        yield "       and all p2p: kinds, decoded from the messages by the reader of the stream"
    lacks = [kind for kind in offer.lacks if kind not in PATCHED]
    yield f"lacks: {', '.join(lacks) or 'none'}"
    patched = [kind for kind in offer.lacks if kind in PATCHED]
    if patched:
        yield f"       {', '.join(patched)} (patched nodes only)"


def _unknown_lines(sites: dict[str, tuple[Probe, ...]], offer: TraceOffer) -> Iterator[str]:
    if not offer.unknown:
        return
    yield ""
    yield "Tracepoints that the catalogue does not know. To read them, name their arguments in watchdog.yaml;"
    yield "where a u64 is an address, its type is str, bytes32 or bytes(FIELD):"
    yield "tracepoints:"
    yield from (f"  {declaration_line(name, sites[name][0])}" for name in offer.unknown[:MOST_LISTED])


def _as_data(binary: TracedBinary, offer: TraceOffer) -> dict[str, object]:
    return {
        "path": printable(binary.path, LONGEST_PATH),
        "machine": binary.machine,
        "release": {"text": offer.releases.text, "low": offer.releases.low, "high": offer.releases.high},
        "probes": [_probe_data(name, places, offer) for name, places in in_order(binary.sites()).items()],
        "gives": list(offer.kinds),
        "lacks": list(offer.lacks),
        "unreadable": list(binary.faults),
    }


def _probe_data(name: str, places: Sequence[Probe], offer: TraceOffer) -> dict[str, object]:
    known = offer.kinds.get(name)
    return {
        "provider": printable(places[0].provider),
        "name": printable(places[0].name),
        "semaphore": places[0].semaphore,
        "places": [
            {
                "location": probe.location,
                "arguments": [
                    {
                        "type": one.type,
                        "size": one.size,
                        "signed": one.signed,
                        "where": one.where,
                        "place": printable(one.place, LONGEST),
                    }
                    for one in probe.arguments
                ],
            }
            for probe in places
        ],
        "kind": None if known is None else known.kind,
        "fields": None if known is None else [one.field or None for one in known.inputs],
        "left_out": {} if known is None else dict(known.left_out),
        "fault": offer.faults.get(name),
        "declaration": declaration_line(name, places[0]) if name in offer.unknown else None,
    }
