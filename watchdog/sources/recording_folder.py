"""`recording:DIR`: a labelled recording of a node, read as it lies.

A folder with capture.tar.xz (or capture/), snapshots.jsonl.xz, debug.log.gz (or either of them plain), and
labels.json and meta.json. Each part is a source of its own; only those are opened whose events somebody reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from watchdog.core.errors import SourceError
from watchdog.core.source import Source, SourceOptions

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "capture": ("capture.tar.xz", "capture.tar.gz", "capture.tar", "capture"),
    "snapshots": ("snapshots.jsonl.xz", "snapshots.jsonl.gz", "snapshots.jsonl"),
    "log": ("debug.log.gz", "debug.log.xz", "debug.log"),
}
SIDE_FILE_LIMIT: Final = 16 * 1024 * 1024  # bytes of labels.json or meta.json
DEFAULT_NODE: Final = SourceOptions().node


@dataclass(frozen=True, slots=True)
class Label:
    """What was done to the node, when (unix seconds), and by whom (addresses, netgroups, ranges, `*`)."""

    attack: str
    klass: str
    start_s: float
    end_s: float
    entities: tuple[str, ...]
    note: str
    params: Mapping[str, object]


def open_recording(path: str, options: SourceOptions) -> list[Source]:
    """The sources of a recording that give wanted kinds, named `capture:PATH/FILE` and so on.

    options.position: of all parts, by the name of the source. A node name that was not given becomes the
    recording's own. SourceError when the folder holds no part at all.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise SourceError(f"no such recording folder: {path!r}; it should hold capture.tar.xz, snapshots.jsonl.xz, ...")
    found = {part: name for part, names in PARTS.items() for name in reversed(names) if (folder / name).exists()}
    if not found:
        raise SourceError(
            f"no recording in {path!r}; expected capture.tar.xz, snapshots.jsonl.xz or debug.log.gz in it"
        )
    own = replace(options, follow=False, position=None)
    if options.node == DEFAULT_NODE:
        own = replace(own, node=node_name(path))
    sources: list[Source] = []
    for part, file in found.items():
        kinds, make = _opener(part)
        if own.wanted is None or own.wanted & kinds:
            where = str(folder / file)
            sources.append(make(where, replace(own, position=position_of(options, f"{part}:{where}"))))
    return sources


def position_of(options: SourceOptions, name: str) -> Mapping[str, object] | None:
    """The position of one of several sources: options.position maps names of sources to theirs."""
    position = options.position.get(name) if options.position is not None else None
    if position is not None and not isinstance(position, Mapping):
        raise SourceError(f"position of {name!r} is not a mapping; the checkpoint is damaged")
    return position


def node_name(path: str) -> str:
    """The name in meta.json, else that of the folder."""
    meta = read_meta(path)
    name = meta.get("name")
    return name if isinstance(name, str) and name else Path(path).resolve().name


def read_meta(path: str) -> Mapping[str, object]:
    """meta.json of a recording, empty when there is none. SourceError when it is not a JSON object."""
    meta = _read_json(Path(path) / "meta.json")
    if meta is None:
        return {}
    if not isinstance(meta, dict):
        raise SourceError(f"{str(Path(path) / 'meta.json')!r}: expected a JSON object")
    return meta


def read_labels(path: str) -> tuple[Label, ...]:
    """labels.json of a recording, by start; empty when there is none. SourceError names the label that is wrong."""
    file = Path(path) / "labels.json"
    labels = _read_json(file)
    if labels is None:
        return ()
    if not isinstance(labels, list):
        raise SourceError(f"{str(file)!r}: expected a JSON list of labels")
    return tuple(sorted((_label(one, at, str(file)) for at, one in enumerate(labels)), key=lambda one: one.start_s))


def _label(one: object, at: int, file: str) -> Label:
    place = f"{file!r}: label {at}"
    if not isinstance(one, dict):
        raise SourceError(f"{place}: expected an object")
    texts = {key: one.get(key, "") for key in ("attack", "class", "note")}
    times = {key: one.get(key) for key in ("start", "end")}
    entities, params = one.get("entities", []), one.get("params", {})
    for key, text in texts.items():
        if not isinstance(text, str):
            raise SourceError(f"{place}: {key!r} is not text")
    if not isinstance(entities, list) or not isinstance(params, dict):
        raise SourceError(f"{place}: 'entities' must be a list and 'params' an object")
    start, end = _seconds(times["start"], f"{place}: 'start'"), _seconds(times["end"], f"{place}: 'end'")
    who = tuple(str(entity) for entity in entities)
    return Label(texts["attack"], texts["class"], start, end, who, texts["note"], params)


def _seconds(value: object, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SourceError(f"{place} is not a number of unix seconds")
    return float(value)


def _read_json(file: Path) -> object:
    """The content of a JSON file, None when it does not exist."""
    if not file.exists():
        return None
    try:
        if file.stat().st_size > SIDE_FILE_LIMIT:
            raise SourceError(f"{str(file)!r} is larger than {SIDE_FILE_LIMIT >> 20} MiB")
        content: object = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SourceError(f"cannot read {str(file)!r}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{str(file)!r} is not JSON: {error}") from error
    return content


Opener = Callable[[str, SourceOptions], Source]


def _opener(part: str) -> tuple[frozenset[str], Opener]:
    """Kinds and constructor of one part; imported only when the folder has it."""
    if part == "capture":
        from watchdog.sources import capture  # noqa: PLC0415 - only what is asked for is loaded

        return capture.KINDS, capture.CaptureSource
    if part == "snapshots":
        from watchdog.sources import snapshots  # noqa: PLC0415 - only what is asked for is loaded

        return snapshots.KINDS, snapshots.SnapshotsSource
    from watchdog.sources import debuglog  # noqa: PLC0415 - only what is asked for is loaded

    return debuglog.KINDS, debuglog.DebugLogSource
