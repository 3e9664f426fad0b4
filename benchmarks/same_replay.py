"""Compares what two revisions report: `python -m benchmarks.same_replay REVISION [RECORDING...]`.

Replays every recording with the code of REVISION and with this work tree and compares the incidents field by field.
Ignored are texts that people read: `title`, `summary`, and the reasons of changes. Prints the first differences of each
recording; exit code 1 when there are any. Takes some minutes; run it before and after moves, renames and rewordings.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORDINGS = (ROOT / "demo" / "recording", *sorted((ROOT.parent / "shared" / "recordings").glob("open-*")))
TEXTS = {"title", "summary", "reason", "text"}
ADDED = {"maturity"}  # fields that earlier revisions do not report
SHOWN = 5  # differences of a recording that are printed


def without_texts(value: Any) -> Any:
    """Return the value with the texts that people read left out, at any depth."""
    if isinstance(value, dict):
        return {key: without_texts(part) for key, part in value.items() if key not in TEXTS | ADDED}
    if isinstance(value, list):
        return [without_texts(part) for part in value]
    return value


def incidents(tree: Path, recording: Path) -> dict[str, Any]:
    """Return the incidents of a recording by id, as the code in `tree` reports them."""
    command = [sys.executable, "-c", "import sys; from watchdog.cli.main import main; sys.exit(main(sys.argv[1:]))"]
    done = subprocess.run(
        [*command, "replay", f"recording:{recording}"], cwd=tree, capture_output=True, text=True, check=True
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {incident["id"]: without_texts(incident) for incident in found}


def differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Return a line for each incident that is missing or new, and for each field that differs."""
    for gone in sorted(before.keys() - after.keys()):
        yield f"missing: {gone} of {before[gone]['rule']}"
    for new in sorted(after.keys() - before.keys()):
        yield f"new: {new} of {after[new]['rule']}"
    for both in sorted(before.keys() & after.keys()):
        for field in sorted(before[both].keys() | after[both].keys()):
            old, new = before[both].get(field), after[both].get(field)
            if old != new:
                yield f"{both} of {before[both]['rule']}, {field}: {old!r} is now {new!r}"[:400]


def main(revision: str, recordings: list[Path]) -> int:
    """Compare; 0 when all recordings give the same."""
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, revision], cwd=ROOT, check=True)
        try:
            for recording in recordings:
                found = list(differences(incidents(tree, recording), incidents(ROOT, recording)))
                print(f"{recording.name}: {len(found)} differences")
                print("".join(f"  {line}\n" for line in found[:SHOWN]), end="", flush=True)
                worst = max(worst, bool(found))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], [Path(name) for name in sys.argv[2:]] or list(RECORDINGS)))
