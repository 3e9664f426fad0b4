"""Core's rate limit: what is read behind it, which events count as missing, and for which rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.events import SECOND, batch
from tests.unit.test_log_shapes import Row, read_text, rows_of
from watchdog.core.source import FormCounting, SourceOptions
from watchdog.engine.coverage import Coverage
from watchdog.sources.core_log.locations import NO_KIND, kinds_of
from watchdog.sources.log.limits import LIMITS, SourceLocation, SuppressedLocations
from watchdog.sources.log.source import DebugLogSource

PLACE = "net_processing.cpp:3700 (ProcessMessage)"
REST = (
    ">1048576 bytes logged during the last time window of 3600s. Suppressing logging to disk from this source location "
    "until time window resets. Console logging unaffected. Last log entry."
)


def begun(at: str, place: str = PLACE, rest: str = REST) -> str:
    return f"[*] 2026-08-01T{at}Z [warning] Excessive logging detected from {place}: {rest}\n"


def ended(at: str, place: str = PLACE, lost: str = "5000 bytes were dropped during the last 3600s.") -> str:
    return f"2026-08-01T{at}Z [warning] Restarting logging from {place}: {lost}\n"


def gaps(rows: list[Row]) -> list[tuple[int, int, int, object]]:
    """Time, length in s, events lost, and kinds of each gap."""
    found = [row for row in rows if row["kind"] == "source:gap"]
    return [
        (int(str(row["time_ns"])) // SECOND % 86_400, (int(str(row["to_ns"])) - int(str(row["from_ns"]))) // SECOND,
         int(str(row["lost"])), row["kinds"])
        for row in found
    ]  # fmt: skip


def test_a_gap_runs_from_the_first_to_the_last_line_of_the_limit(tmp_path: Path) -> None:
    rows = read_text(tmp_path, begun("11:42:20") + ended("12:42:24"))
    assert gaps(rows) == [(45_744, 3_604, 0, "log:peer_connected")]
    (limited,) = [row for row in rows if row["kind"] == "source:limited"]
    assert (limited["location"], limited["kinds"]) == (PLACE, "log:peer_connected")


def test_a_limit_ends_with_the_node_s_process(tmp_path: Path) -> None:
    start = "2026-08-01T11:50:00Z Bitcoin Core version v31.0.0 (release build)\n"
    assert gaps(read_text(tmp_path, begun("11:42:20") + start)) == [(42_600, 460, 0, "log:peer_connected")]


def test_a_limit_whose_beginning_was_not_seen_is_as_long_as_its_window(tmp_path: Path) -> None:
    assert gaps(read_text(tmp_path, ended("12:42:24"))) == [(45_744, 3_600, 0, "log:peer_connected")]


def test_a_limit_whose_end_was_not_seen_is_over_after_its_window(tmp_path: Path) -> None:
    """Lines of a limit's end may be lost with a rotated file; the next limit of the location begins another gap."""
    rows = read_text(tmp_path, begun("01:00:00") + begun("20:00:00") + ended("20:30:00"))
    assert [(at, length) for at, length, _, _ in gaps(rows)] == [(72_000, 3_900), (73_800, 1_800)]
    rows = read_text(tmp_path, begun("01:00:00") + ended("20:30:00"))
    assert [(at, length) for at, length, _, _ in gaps(rows)] == [(73_800, 3_900), (73_800, 3_600)]
    start = "2026-08-01T09:00:00Z Bitcoin Core version v31.0.0 (release build)\n"
    assert gaps(read_text(tmp_path, begun("01:00:00") + start))[0][:2] == (32_400, 3_900)


def test_two_locations_are_limited_apart(tmp_path: Path) -> None:
    other = "net_processing.cpp:5000 (LogBlockHeader)"
    lines = begun("01:00:00") + begun("01:10:00", other) + ended("01:20:00") + ended("01:20:00", other)
    assert [gap[1:] for gap in gaps(read_text(tmp_path, lines))] == [
        (1_200, 0, "log:peer_connected"),
        (600, 0, "log:header"),
    ]


def test_numbers_of_any_size_are_read_and_bounded(tmp_path: Path) -> None:
    huge = "9" * 30
    limit = begun("01:00:00", rest=f">{huge} bytes logged during the last time window of {huge}s. Suppressing.")
    (limited,) = read_text(tmp_path, limit)
    assert int(str(limited["until_ns"])) - int(str(limited["time_ns"])) == (86_400 + 300) * SECOND
    end = ended("12:00:00", lost=f"{huge} bytes were dropped during the last {huge}s.")
    assert gaps(read_text(tmp_path, end))[0][:2] == (43_200, 86_400)


def test_a_limit_whose_beginning_was_not_seen_begins_no_sooner_than_the_node(tmp_path: Path) -> None:
    start = "2026-08-01T12:30:00Z Bitcoin Core version v31.0.0 (release build)\n"
    assert gaps(read_text(tmp_path, start + ended("12:42:24")))[0][:2] == (45_744, 744)


def test_a_limit_survives_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "debug.log"
    path.write_text(begun("11:42:20"))
    first = DebugLogSource(str(path), SourceOptions(follow=True))
    slice_ = first.poll()
    assert slice_ is not None
    first.close()
    with path.open("a") as file:
        file.write(ended("12:42:24"))
    position = json.loads(json.dumps(slice_.position))
    resumed = DebugLogSource(str(path), SourceOptions(position=position, follow=True))
    more = resumed.poll()
    resumed.close()
    assert more is not None
    assert gaps(rows_of(list(more.batches))) == [(45_744, 3_604, 0, "log:peer_connected")]


@pytest.mark.parametrize(
    ("file", "function", "kinds"),
    [
        ("net_processing.cpp", "ProcessMessage", ("log:peer_connected",)),
        ("./src/net_processing.cpp", "LogBlockHeader", ("log:header",)),
        (
            "/home/me/src/net_processing.cpp",
            "virtual void {anonymous}::PeerManagerImpl::ProcessMessage(CNode&, const string&)",
            ("log:peer_connected",),
        ),
        ("net_processing.cpp", "void (anonymous namespace)::PeerManagerImpl::LogBlockHeader(int)", ("log:header",)),
        ("validation.cpp", "UpdateTipLog", ("log:tip",)),
        ("net_processing.cpp", "ProcessMessages", ()),
        ("net_processing.cpp", "operator()", ()),
        ("wallet.cpp", "ProcessMessage", ()),
        ("", "", ()),
    ],
)
def test_a_source_location_gives_the_kinds_of_its_lines_and_no_others(
    file: str, function: str, kinds: tuple[str, ...]
) -> None:
    assert kinds_of(file, function) == kinds


def test_an_unknown_location_is_missing_no_kind_rather_than_all(tmp_path: Path) -> None:
    place = "httpserver.cpp:300 (http_request_cb)"
    assert gaps(read_text(tmp_path, begun("11:42:20", place) + ended("12:42:24", place)))[0][3] == NO_KIND


def test_limits_are_bounded_and_the_oldest_is_told() -> None:
    limits = SuppressedLocations()
    told = [one for line in range(LIMITS + 3) for one in limits.begin(SourceLocation("net.cpp", line, "f"), line, 9)]
    assert [one.time_ns for one in told] == [0, 1, 2]
    assert len(limits.state()) == LIMITS


def _covered(coverage: Coverage, end_s: int, kinds: tuple[str, ...]) -> tuple[bool, float]:
    whole = not coverage.disturbed(100 * SECOND, kinds).at(end_s * SECOND)
    return whole, coverage.seen((end_s - 100) * SECOND, end_s * SECOND, kinds)[0]


def test_a_gap_of_some_kinds_counts_for_rules_that_read_them() -> None:
    coverage = Coverage()
    coverage.begin(0)
    row = {"t": 1000, "from_ns": 900 * SECOND, "to_ns": 1000 * SECOND, "lost": 0, "kinds": "log:header,p2p:"}
    coverage.see(batch("source:gap", [row]))
    assert _covered(coverage, 1050, ("log:header",)) == (False, 0.5)
    assert _covered(coverage, 1050, ("log:tip", "p2p:inv")) == (False, 0.5)
    assert _covered(coverage, 1050, ("log:tip",)) == (True, 1.0)
    assert _covered(coverage, 1050, ("log:headers_of_another_name",)) == (False, 0.5)
    assert _covered(coverage, 1050, ("log:misbehaving",)) == (True, 1.0)


def test_a_gap_that_lasts_counts_until_its_end_is_known_and_not_beyond() -> None:
    """Time:  100 limited, until 3700 at the latest ... 400 written again."""
    coverage, kinds = Coverage(), ("log:header",)
    coverage.begin(0)
    coverage.see(batch("source:limited", [{"t": 100, "until_ns": 3700 * SECOND, "kinds": "log:header"}]))
    assert _covered(coverage, 300, kinds) == (False, 0.0)
    restored = Coverage()
    restored.restore(json.loads(json.dumps(coverage.state())))
    for one in (coverage, restored):
        gap = {"t": 400, "from_ns": 100 * SECOND, "to_ns": 400 * SECOND, "lost": 0, "kinds": "log:header"}
        one.see(batch("source:gap", [gap]))
        assert _covered(one, 300, kinds) == (False, 0.0)
        assert _covered(one, 450, kinds) == (False, 0.5)
        assert _covered(one, 600, kinds) == (True, 1.0)


def test_gaps_of_an_older_checkpoint_cover_all_kinds() -> None:
    coverage = Coverage()
    coverage.restore({"first_ns": 0, "gaps": [[100 * SECOND, 200 * SECOND, 200 * SECOND]], "starts": [], "lost": 3})
    assert _covered(coverage, 250, ("log:tip",)) == (False, 0.5)


def test_a_log_counts_lines_of_each_form_and_of_the_category_net(tmp_path: Path) -> None:
    path = tmp_path / "debug.log"
    stamp = "2026-01-21T12:53:55Z"
    path.write_text(
        f"{stamp} [net] Misbehaving: peer=5: spam\n{stamp} [msghand] [net:debug] Misbehaving: who=5\n"
        f"{stamp} [addrman] hello\nMisbehaving: peer=5: spam\n"
        "[*] [net] UpdateTip: x\n2026-99-01T00:00:00Z UpdateTip: x\n"
        "some other text\n"
    )
    source = DebugLogSource(str(path), SourceOptions(wanted=frozenset({"log:misbehaving", "log:tip"})))
    while not source.ended:
        source.poll()
    assert isinstance(source, FormCounting)
    counts = {name: both for name, both in source.line_forms.items() if any(both)}
    assert counts == {"misbehaving": (1, 1), "untimed": (0, 3)}
    assert source.net_lines == 2
