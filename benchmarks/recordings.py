"""Where the recordings of a real node lie: beside the repository, as for the tests."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rounds import SkippedError

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "recordings"


def recording(name: str) -> Path:
    """The folder of a recording; SkippedError without it."""
    folder = RECORDINGS / name
    if not folder.is_dir():
        raise SkippedError(f"no recording '../shared/recordings/{name}' beside the repository")
    return folder


@contextmanager
def capture_tree(name: str) -> Iterator[Path]:
    """The capture tree of a recording, unpacked for as long as the context lasts."""
    with tempfile.TemporaryDirectory() as target, tarfile.open(recording(name) / "capture.tar.xz") as archive:
        archive.extractall(target, filter="data")
        yield Path(target) / "capture"
