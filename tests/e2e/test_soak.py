"""A tenth of `make soak`: a million hostile keys pass, and memory does not grow; and what the soak feeds is hostile."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.soak import INTERRUPTED, SLICES, hostile_kinds, hostile_slices
from rules.load import load
from tests.support.catalogue import check_batch
from tests.support.children import killed_on_failure
from watchdog.core.batch import Strings
from watchdog.core.kinds import KINDS

KEYS = 1_000_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_million_hostile_keys_do_not_make_memory_grow(root: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.soak", str(KEYS)]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=1700, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == 21, "progress, and the result"
    assert lines[-1].startswith("1,000,000 hostile keys: memory rose by ")


def test_a_soak_ends_at_an_interrupt(root: Path) -> None:
    command = [sys.executable, "-u", "-m", "benchmarks.soak", "100000"]
    with killed_on_failure(
        subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ) as process:
        assert process.stdout is not None
        assert " keys " in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (INTERRUPTED, "interrupted\n")


def test_no_key_of_a_row_comes_twice_and_batches_are_as_the_catalogue_says() -> None:
    kinds = hostile_kinds(load([], packs=True).plans)
    assert {"p2p:addr", "p2p:unknown", "p2p:version", "net:inbound_connection", "addrman:insert"} <= set(kinds)
    seen: dict[str, list[object]] = {}
    for number, events in enumerate(hostile_slices(2 * SLICES, kinds)):
        for batch in events.batches if number else ():
            check_batch(batch)
            for name in ("conn", "netblock", "peer_addr", "user_agent", "type"):
                field = KINDS[batch.kind].fields.get(name)
                if field is not None and not field.values:
                    column = batch.columns[name]
                    assert isinstance(column, np.ndarray | Strings)
                    seen.setdefault(name, []).extend(column.tolist())
    for name, values in seen.items():
        assert len(set(values)) == len(values), name
    assert len(seen["conn"]) > SLICES
