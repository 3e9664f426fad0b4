"""`bitcoin_watchdog.api` from the wheel, in fresh processes and other folders: workers have NumPy and nothing else."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rules.load import load
from rules.portable import to_text
from tests.support import embedding_worker
from tests.support.wheel import run
from watchdog.core.batch import Blobs, Column, Slice, Strings
from watchdog.core.kinds import ALL_KINDS
from watchdog.core.source import SourceOptions
from watchdog.embedding.keyed_engine import KeyedEngine
from watchdog.embedding.rules import load_rules
from watchdog.engine.coverage import wanted_kinds
from watchdog.engine.engine import Engine
from watchdog.pipeline.scheduler import merged
from watchdog.sources.registry import open_sources

pytestmark = pytest.mark.slow
WORKER = Path(embedding_worker.__file__)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(wheel, tmp_path_factory.mktemp("worker") / "packages")


def unpacked(wheel: Path, place: Path) -> Path:
    """Return an import path that has the wheel's files and NumPy, and nothing of the tree."""
    zipfile.ZipFile(wheel).extractall(place)
    numpy = Path(np.__file__).parent
    for library in (numpy, numpy.parent / "numpy.libs"):
        if library.exists():
            (place / library.name).symlink_to(library)
    return place


def in_worker(installed: Path, folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python with that import path, without site-packages, in another folder."""
    env = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    done = run(sys.executable, "-S", *arguments, cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    return done


def plain_column(column: Column) -> Any:
    if isinstance(column, Strings):
        return {"codes": column.codes, "values": column.values}
    return {"offsets": column.offsets, "data": column.data} if isinstance(column, Blobs) else column


def plain_slices(slices: list[Slice]) -> bytes:
    """Return slices as a pickle without our classes."""
    plain = [
        (
            slice_.source,
            slice_.until_ns,
            [
                (each.kind, each.source, each.boot_ns, {name: plain_column(c) for name, c in each.columns.items()})
                for each in slice_.batches
            ],
        )
        for slice_ in slices
    ]
    return pickle.dumps(plain)


@pytest.fixture(scope="module")
def recorded() -> list[Slice]:
    """The demo's recording, as a replay reads it."""
    options = SourceOptions(wanted=wanted_kinds(load(()).plans))
    sources = open_sources(["recording:demo/recording"], options)
    try:
        return list(merged(sources))
    finally:
        for source in sources:
            source.close()


def lines(findings: list[Any]) -> str:
    return "".join(f"{json.dumps(asdict(found))}\n" for found in findings)


def test_a_worker_without_libraries_finds_the_same_byte_for_byte(
    installed: Path, recorded: list[Slice], tmp_path: Path
) -> None:
    plans = load(()).plans
    engine = Engine(plans, dict.fromkeys(sorted({slice_.source for slice_ in recorded}), ALL_KINDS), node="node")
    expected = [found for slice_ in recorded for found in engine.process(slice_)] + engine.finish()
    assert len(expected) > 20
    (tmp_path / "rules.json").write_text(to_text(load(())), encoding="utf-8")
    (tmp_path / "events").write_bytes(plain_slices(recorded))
    halves, state = len(recorded) // 2, tmp_path / "state"
    ends: list[tuple[str, int, int, list[Path]]] = [
        ("whole", 0, len(recorded), []),
        ("first", 0, halves, [state]),
        ("second", halves, len(recorded), [state]),  # another process
    ]
    for name, first, last, snapshot in ends:
        files = [tmp_path / "rules.json", tmp_path / "events", tmp_path / name]
        in_worker(installed, tmp_path, WORKER, *files, str(first), str(last), *snapshot)
    texts = {name: (tmp_path / name).read_text(encoding="utf-8") for name, *_ in ends}
    assert texts["whole"] == lines(expected)
    assert texts["first"]
    assert texts["second"]
    assert texts["first"] + texts["second"] == lines(expected)


def test_the_engine_of_loaded_rules_finds_the_same(recorded: list[Slice]) -> None:
    sources = {slice_.source for slice_ in recorded}
    runs = []
    for rules in (loaded := load_rules(), type(loaded).from_text(loaded.to_text())):
        engine = KeyedEngine(rules, "node", sources)
        runs.append(lines([found for slice_ in recorded for found in engine.process(slice_)] + engine.finish()))
    assert runs[0] == runs[1]


PROGRAM = """
import pickle, sys
from bitcoin_watchdog import api
import rules, watchdog
assert rules.MINE and watchdog.THEIRS, "a module of the program was replaced"
ours = {name for name in sys.modules if "." not in name} & {"detectors", "alerts"}
assert not ours, ours
text = open(sys.argv[1], encoding="utf-8").read()
made = api.Rules.from_text(text)
assert made.to_text() == text
open("pickled", "wb").write(pickle.dumps(made))
try:
    api.load_rules()
except ModuleNotFoundError as error:
    print(error)
"""


def test_a_program_keeps_its_own_modules_of_the_same_names(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text("MINE = True\n")
    (tmp_path / "watchdog" / "observers").mkdir(parents=True)
    (tmp_path / "watchdog" / "__init__.py").write_text("THEIRS = True\n")
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "rules.json").write_text(to_text(load(())), encoding="utf-8")
    done = in_worker(installed, tmp_path, tmp_path / "program.py", tmp_path / "rules.json")
    assert done.stdout.splitlines() == [
        "load_rules reads YAML and needs PyYAML; a process without it uses Rules.from_text"
    ]
    unpickle = "import pickle; rules = pickle.load(open('pickled', 'rb')); print(len(rules.ids), rules.hash)"
    done = in_worker(installed, tmp_path, "-c", unpickle)  # nothing was imported before
    assert done.stdout == f"{len(load(()).plans)} {load(()).hash}\n"


def test_the_driver_reads_yaml_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("overrides: {addr-beyond-limit: {enabled: false}}\n")
    code = (
        "import sys; from bitcoin_watchdog.api import load_rules; sys.stdout.write(load_rules(sys.argv[1]).to_text())"
    )
    libraries = Path(np.__file__).parent.parent
    env = {**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{libraries}"}
    done = run(sys.executable, "-S", "-c", code, own, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout == to_text(load([own]))
    assert '"addr-beyond-limit"' not in done.stdout


PROBE = """
import watchdog.core.batch
import detectors.kernel as kernel
from detectors import state
NAMES = [watchdog.core.batch.__name__, kernel.__name__, state.__name__, kernel.name()]
"""


def test_every_form_of_import_means_ours_inside_and_only_there(wheel: Path, tmp_path: Path) -> None:
    place = unpacked(wheel, tmp_path / "packages")
    inside = place / "bitcoin_watchdog" / "_private" / "watchdog"
    (inside / "probe.py").write_text(PROBE)
    code = "from bitcoin_watchdog._private.watchdog import probe; print(*probe.NAMES); import watchdog"
    env = {**os.environ, "PYTHONPATH": str(place)}
    done = run(sys.executable, "-S", "-c", code, cwd=tmp_path, env=env)
    private = "bitcoin_watchdog._private."
    compiled = "c" if list(inside.parent.glob("detectors/_kernel*")) else "numpy"
    names = [f"{private}{name}" for name in ("watchdog.core.batch", "detectors.kernel", "detectors.state")]
    assert done.stdout.split() == [*names, compiled]
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'watchdog'"
