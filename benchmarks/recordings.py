"""Where the recordings of a real node lie: beside the repository, as for the tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rounds import SkippedError
from tests.support.capture_files import unpack_tree

RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "recordings"


def recording(name: str) -> Path:
    """Return the folder of a recording; SkippedError without it."""
    folder = RECORDINGS / name
    if not folder.is_dir():
        raise SkippedError(f"no recording '../shared/recordings/{name}' beside the repository")
    return folder


@contextmanager
def capture_tree(name: str) -> Iterator[Path]:
    """Unpack the capture tree of a recording for as long as the context lasts."""
    with tempfile.TemporaryDirectory() as target:
        unpack_tree(recording(name) / "capture.tar.xz", Path(target))
        yield Path(target) / "capture"
