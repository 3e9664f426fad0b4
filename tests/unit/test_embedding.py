"""The engine as a keyed function: watermarks, wrong batches, snapshots, and the sketch of the documentation."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rules.load import load_text
from tests.support.events import SECOND, batch
from watchdog import _api as api
from watchdog.core.batch import Batch, Blobs, Slice, Strings
from watchdog.core.errors import StateError
from watchdog.core.source import END_OF_TIME_NS
from watchdog.embedding.batches import LATEST_NS, batch_of
from watchdog.embedding.keyed_engine import KeyedEngine
from watchdog.embedding.rules import Rules

ROOT = Path(__file__).resolve().parents[2]
T = 1_790_000_000  # seconds, divisible by 10
PING = "p2p:ping"
RULES = Rules(
    load_text(
        """
rules:
  pings: {title: p, attack: message-anomaly, severity: info, on: p2p:ping, over: 10s, pane: 1s, by: peer_addr,
          measure: {n: count()}, fire: n >= 3, summary: "{peer_addr} sent {n} pings"}
"""
    )
)


def pings(*seconds: float, node: str = "node", source: str = "hand") -> Batch:
    rows = [{"t": T + second, "peer_addr": "198.51.100.7"} for second in seconds]
    return batch(PING, rows, node=node, source=source)


def engine(**other: Any) -> KeyedEngine:
    return KeyedEngine(other.pop("rules", RULES), other.pop("node", "node"), other.pop("sources", ["hand"]), **other)


def changes(findings: list[api.Finding]) -> list[tuple[str, float]]:
    return [(found.change, found.time_ns / SECOND - T) for found in findings]


def test_a_batch_advances_its_source_to_its_latest_event() -> None:
    judge = engine()
    assert judge.watermark_ns == 0
    assert judge.process(pings(0.1, 0.2, 0.3)) == []
    assert changes(judge.process(pings(1.5))) == [("fire", 1.0)]
    assert judge.watermark_ns == int((T + 1.5) * SECOND)
    judge.process(pings(1.2, 1.6))
    assert judge.late == {PING: 1}
    assert judge.process(pings()) == []
    assert changes(judge.advance("hand", np.int64((T + 30) * SECOND))) == [("clear", 11.0)]  # type: ignore[arg-type]


def test_a_slice_has_a_watermark_of_its_own() -> None:
    judge = engine()
    overlapping = Slice("hand", (pings(0.3), pings(0.1, 0.2)), T * SECOND)
    assert judge.process(overlapping) == []
    assert judge.late == {}
    (found,) = judge.process(Slice("hand", (), END_OF_TIME_NS))
    assert (found.rule, found.summary) == ("pings", "198.51.100.7 sent 3 pings")


def test_finish_closes_the_windows_once() -> None:
    judge = engine()
    judge.process(pings(0.1, 0.2, 0.3))
    assert changes(judge.finish()) == [("fire", 1.0)]
    for call in (judge.finish, lambda: judge.process(pings(5)), lambda: judge.advance("hand", T)):
        with pytest.raises(ValueError, match="the input of this engine has ended"):
            call()


def test_rules_wait_for_the_sources_that_can_feed_them() -> None:
    judge = engine(sources={"hand": ["p2p"], "log": {"log:misbehaving"}})
    assert changes(judge.process(pings(0.1, 0.2, 0.3, 2))) == [("fire", 1.0)]
    judge = engine(sources={"hand": None, "other": None})
    assert judge.process(pings(0.1, 0.2, 0.3, 2)) == []
    assert changes(judge.advance("other", (T + 2) * SECOND)) == [("fire", 1.0)]


def test_a_snapshot_continues_whatever_the_order_of_the_sources() -> None:
    whole, first = engine(sources=["a", "hand"]), engine(sources=["a", "hand"])
    for judge in (whole, first):
        judge.advance("a", END_OF_TIME_NS)
        judge.process(pings(0.1, 0.2))
    second = engine(sources={"hand": None, "a": None}, rules=Rules.from_text(RULES.to_text()))
    assert second.restore(first.snapshot()) == frozenset()
    rest = [pings(0.3, 1.7), pings(20)]
    findings = [[found for part in rest for found in judge.process(part)] for judge in (whole, second)]
    assert findings[0] == findings[1]
    assert changes(findings[1]) == [("fire", 1.0), ("clear", 11.0)]
    assert second.snapshot() == whole.snapshot()


def test_a_snapshot_that_does_not_fit_leaves_the_engine_as_new() -> None:
    judge = engine()
    judge.process(pings(0.1, 0.2))
    blob = judge.snapshot()
    fresh = engine()
    with pytest.raises(StateError, match="snapshot is of node 'node', the engine judges node 'other'"):
        engine(node="other").restore(blob)
    for damaged in (b"", blob[:-1], blob[:40], b"x" * len(blob), blob + b"\0"):
        with pytest.raises(StateError):
            fresh.restore(damaged)
    assert fresh.restore(blob) == frozenset()
    for used in (fresh, judge):
        with pytest.raises(ValueError, match="restore needs an engine that has taken no events"):
            used.restore(blob)
    other = Rules(load_text(load_changed()))
    assert engine(rules=other).restore(blob) == {"pings"}


def load_changed() -> str:
    return (
        "rules: {pings: {title: p, attack: node, severity: info, on: p2p:ping, over: 20s, measure: {n: count()}, "
        "fire: n > 5}}"
    )


def test_one_mistake_in_a_batch_is_one_line_and_changes_nothing() -> None:
    good = pings(0.1, 0.2, 0.3)
    column = good.columns

    def with_columns(**other: Any) -> Batch:
        return replace(good, columns={**column, **other})

    wrong: list[tuple[str, Callable[[], Batch | Slice]]] = [
        ("batch of node 'b', the engine judges node 'node'", lambda: replace(good, node="b")),
        ("unknown kind 'p2p:pingg'; did you mean 'p2p:ping'", lambda: replace(good, kind="p2p:pingg")),
        ("source 'log' is not one of this engine: 'hand'", lambda: replace(good, source="log")),
        ("lacks 'peer_addr'", lambda: replace(good, columns={n: c for n, c in column.items() if n != "peer_addr"})),
        ("has an unknown field 'more'", lambda: with_columns(more=column["time_ns"])),
        ("column 'peer_addr' of kind 'p2p:ping' is not of type str", lambda: with_columns(peer_addr=column["time_ns"])),
        ("is not of type i64", lambda: with_columns(time_ns=np.zeros(3, np.float64))),
        ("has 2 rows, time_ns 3", lambda: with_columns(peer_addr=Strings.of(["a", "b"]))),
        ("times are nanoseconds", lambda: with_columns(time_ns=np.full(3, T, np.int64))),
        ("times are nanoseconds", lambda: with_columns(time_ns=np.full(3, LATEST_NS + 1, np.int64))),
        ("is after 2099: times are nanoseconds", lambda: Slice("hand", (good,), LATEST_NS + 1)),
        ("is no whole number of nanoseconds", lambda: Slice("hand", (good,), 1.5)),  # type: ignore[arg-type] # a caller's mistake
    ]
    judge = engine()
    before = judge.snapshot()
    for reason, made in wrong:
        with pytest.raises(ValueError, match=re.escape(reason)) as caught:
            judge.process(made())
        assert len(str(caught.value).splitlines()) == 1
    assert judge.snapshot() == before
    judge.process(good)


def test_codes_outside_a_dictionary_and_overlapping_bytes_are_refused() -> None:
    good = pings(0.1)
    bad = Strings(np.array([5], np.int32), ("a",))
    with pytest.raises(ValueError, match="codes outside its dictionary"):
        engine().process(replace(good, columns={**good.columns, "peer_addr": bad}))
    blobs = [name for name, field in api.KINDS["p2p:tx"].fields.items() if field.type == "bytes"]
    rows = batch("p2p:tx", [{"t": T}, {"t": T}])
    broken = Blobs(np.array([0, 9, 3], np.int64), np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match="offsets that do not fit its data"):
        engine().process(replace(rows, columns={**rows.columns, blobs[0]: broken}))


@pytest.mark.parametrize(
    ("reason", "arguments"),
    [
        ("needs the name of a source", {"sources": []}),
        ("unknown kind 'p2q'", {"sources": {"hand": ["p2q"]}}),
        ("1 to 64 bytes, not 0", {"secret": b""}),
        ("1 to 64 bytes, not 65", {"secret": b"x" * 65}),
    ],
)
def test_wrong_arguments_are_refused_at_once(reason: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=reason):
        engine(**arguments)


def test_an_engine_is_not_pickled() -> None:
    with pytest.raises(TypeError, match=r"ship rules.to_text\(\) and engine.snapshot\(\)"):
        pickle.dumps(engine())


def test_rows_become_the_columns_of_their_kind() -> None:
    good = batch("p2p:ping", [{"t": T, "peer_addr": "198.51.100.7", "netgroup": "198.51.0.0/16", "size": 8}])
    row = {name: good.take(np.array([0])).columns[name].tolist()[0] for name in good.columns}
    made = batch_of("p2p:ping", [row], node="node", source="hand")
    assert {n: c.tolist() for n, c in made.columns.items()} == {n: c.tolist() for n, c in good.columns.items()}
    assert engine().process(made) == []
    text = batch_of("p2p:ping", [{**row, "netgroup": "198.51.0.0/16"}], node="node", source="hand")
    assert text.columns["netgroup"].tolist() == good.columns["netgroup"].tolist()
    wrong: list[tuple[str, dict[str, object]]] = [
        ("'size' of kind 'p2p:ping' does not fit", {"size": 1 << 80}),
        ("'size' of kind 'p2p:ping' is not of type", {"size": "8"}),
        ("'peer' of kind 'p2p:ping' is not of type str", {"peer": None}),
        ("has an unknown field 'x'", {"x": 1}),
        ("not a prefix", {"netgroup": "no"}),
    ]
    for reason, change in wrong:
        with pytest.raises(ValueError, match=reason):
            batch_of("p2p:ping", [{**row, **change}], node="node", source="hand")
    assert batch_of("p2p:ping", [], node="node", source="hand").rows == 0


def test_the_sketch_of_the_documentation_runs() -> None:
    text = (ROOT / "docs" / "EMBEDDING.md").read_text(encoding="utf-8")
    (sketch,) = re.findall(r"```python\n(class Judge.*?)```", text, re.DOTALL)
    names = {"SECRET": b"secret", **{name: getattr(api, name) for name in api.__all__}}
    exec(sketch, names)
    columns = pings(0.1, 0.2, 0.3).columns
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*(c.tolist() for c in columns.values()), strict=True)
    ]
    first, second, whole = (names["Judge"]() for _ in range(3))
    for judge in (first, whole):
        judge.open("node", RULES, None)
        assert judge.on_events({PING: rows}, T * SECOND) == []
    second.open("node", Rules.from_text(RULES.to_text()), first.on_checkpoint())
    found = second.on_timer((T + 30) * SECOND)
    assert changes(found) == [("fire", 1.0), ("clear", 11.0)]
    assert found == whole.on_timer((T + 30) * SECOND)


def test_every_public_name_is_explained(root: Path) -> None:
    text = (root / "docs" / "EMBEDDING.md").read_text(encoding="utf-8")
    assert [name for name in api.__all__ if f"`{name}" not in text] == []
    for name in ("Engine", "Rules"):
        public = [part for part in vars(getattr(api, name)) if not part.startswith("_")]
        documented = [part for part in public if getattr(getattr(api, name), part).__doc__]
        assert documented == public
