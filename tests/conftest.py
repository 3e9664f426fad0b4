"""Shared by all tests: where the recordings are, how much hypothesis may try, and how long a test may take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.declared import only_here
from tests.support.event_loops import LoopGuard, guarded_loops
from tests.support.parts import lacking, shared
from tests.support.postgres import Server, binaries
from tests.support.signals import heed_signals
from tests.support.wheel import built_wheel
from watchdog.doctor import examine

ROOT = Path(__file__).resolve().parent.parent

# The same examples on every machine and in every run: a red `make check` can be repeated. To search for new examples:
# HYPOTHESIS_PROFILE=explore make test
settings.register_profile(
    "ci",
    derandomize=True,
    max_examples=100,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],  # says something of the machine
)
settings.register_profile(
    "explore", max_examples=2_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


TIMEOUT_S, SLOW_TIMEOUT_S = 600, 1200  # of one test with its fixtures, on a slow machine; --timeout replaces both


def pytest_configure() -> None:
    """Tests interrupt processes that they have started, and let other users read what they have written."""
    heed_signals()
    os.umask(0o022)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs the recordings or a server, so that `-m 'not recordings'` leaves it out, and limit the time."""
    guarded = config.pluginmanager.hasplugin("timeout") and config.getoption("timeout") is None
    for item in items:
        if guarded and item.get_closest_marker("timeout") is None:
            slow = item.get_closest_marker("slow") is not None
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT_S if slow else TIMEOUT_S))
        if "postgres" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.postgres)
        if "recordings" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.recordings)


@pytest.fixture(scope="session", autouse=True)
def loop_guard() -> Iterator[LoopGuard]:
    """Watch event loops for calls that block them."""
    with guarded_loops() as guard:
        yield guard


@pytest.fixture(scope="session", autouse=True)
def time_for_doctor() -> Iterator[None]:
    """Let `watchdog doctor` in this process take as long as a slow machine needs; tests of what hangs give it less."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(examine, "TOTAL_S", 100.0)
        patch.setattr(examine, "FIND_S", 50.0)
        patch.setattr("watchdog.cli.doctor.READ_S", 100.0)
        yield


@pytest.fixture(autouse=True)
def declarations() -> Iterator[None]:
    """Take back the tracepoints that a test declared: their kinds are known to the whole process."""
    with only_here():
        yield


@pytest.fixture(autouse=True)
def unblocked_loops(loop_guard: LoopGuard) -> Iterator[None]:
    """Fail the test that blocked an event loop, even where the error was caught."""
    loop_guard.take()
    yield
    if blocked := loop_guard.take():
        pytest.fail("\n".join(blocked), pytrace=False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A real PostgreSQL server; skipped where Debian's package is missing, a failure in CI."""
    programs = binaries()
    if programs is None:
        lacking("not installed: PostgreSQL, Debian's package 'postgresql'")
    server = Server(programs)
    yield server
    server.remove()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    return built_wheel(root, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of recordings of a real node beside the repository.

    Where it is absent, as in a fresh clone, the test is skipped and the reason printed; with
    WATCHDOG_REQUIRE_RECORDINGS=1 it fails instead.
    """
    return shared("recordings")
