"""A worker of another program: `bitcoin_watchdog.api` from the wheel, where only NumPy and the standard library load.

Started by its path: `-S embedding_worker.py RULES EVENTS FINDINGS FROM TO [SNAPSHOT]`. EVENTS is a pickle of plain
values and NumPy arrays (`plain_slices`). It judges the slices FROM to TO, ends the input after the last one, and leaves
its state in SNAPSHOT; an existing SNAPSHOT is where it continues.
"""

from __future__ import annotations

import json
import pickle
import sys
from dataclasses import asdict
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

ALLOWED = {"numpy", "bitcoin_watchdog"}


class Refusing:
    """Fails an import of any library but NumPy, and of our packages by their plain names, as if not installed."""

    refused: list[str]

    def __init__(self) -> None:
        self.refused = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Raise ModuleNotFoundError for a library that a worker lacks."""
        top = name.partition(".")[0]
        if top in ALLOWED or top in sys.stdlib_module_names:
            return None
        self.refused.append(name)
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def slices_of(path: Path, api: Any, node: str) -> list[Any]:
    """Return the slices of a file that `plain_slices` filled."""

    def column(saved: Any) -> Any:
        if isinstance(saved, dict):
            return api.Strings(**saved) if "codes" in saved else api.Blobs(**saved)
        return saved

    slices = []
    for source, until_ns, batches in pickle.loads(path.read_bytes()):
        made = [
            api.Batch(kind, node, origin, {name: column(saved) for name, saved in columns.items()}, boot_ns)
            for kind, origin, boot_ns, columns in batches
        ]
        slices.append(api.Slice(source, tuple(made), until_ns))
    return slices


def main(arguments: list[str]) -> None:
    """Judge a part of the events."""
    rules, events, findings = map(Path, arguments[:3])
    first, last = map(int, arguments[3:5])
    snapshot = Path(arguments[5]) if arguments[5:] else None
    hook, path_before, before = Refusing(), list(sys.path), set(sys.modules)
    sys.meta_path.insert(0, hook)
    api = import_module("bitcoin_watchdog.api")  # after the hook

    slices = slices_of(events, api, "node")
    kinds = {slice_.source: None for slice_ in slices}
    engine = api.Engine(api.Rules.from_text(rules.read_text(encoding="utf-8")), "node", kinds)
    if snapshot is not None and snapshot.exists():
        assert engine.restore(snapshot.read_bytes()) == frozenset()
    found = [finding for slice_ in slices[first:last] for finding in engine.process(slice_)]
    if snapshot is not None:
        snapshot.write_bytes(engine.snapshot())
    if last >= len(slices):
        found += engine.finish()
    findings.write_text("".join(f"{json.dumps(asdict(one))}\n" for one in found), encoding="utf-8")
    tops = {name.partition(".")[0] for name in set(sys.modules) - before}
    foreign = tops - ALLOWED - set(sys.stdlib_module_names)
    assert not foreign, f"loaded beside NumPy and the standard library: {sorted(foreign)}"
    assert [name for name in hook.refused if name in {"watchdog", "rules", "detectors", "alerts"}] == []
    assert sys.path == path_before
    sys.stdout.write(f"{engine.node} {len(found)} findings\n")


if __name__ == "__main__":
    main(sys.argv[1:])
