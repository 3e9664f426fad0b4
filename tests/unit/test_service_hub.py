"""What the service tells those who watch it live, and its numbers as text."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from watchdog.service.exposition import Exposition
from watchdog.service.hub import MOST_WATCHERS, Hub


def test_a_slow_watcher_is_let_go_and_the_others_are_told() -> None:
    async def watch() -> None:
        hub = Hub(2)
        slow, quick = hub.join(), hub.join()
        assert slow is not None
        assert quick is not None
        for number in range(3):
            hub.announce("incident", {"n": number})
            found = await quick.next(0)
            assert found is not None
            assert (found.number, found.data) == (number + 1, {"n": number})
        assert (slow.dropped, quick.dropped, hub.dropped, hub.watchers) == (True, False, 1, 1)
        assert await slow.next(0) is None
        assert await quick.next(0) is None
        quick.close()
        quick.close()
        assert hub.watchers == 0
        assert all(hub.join() for _ in range(MOST_WATCHERS))
        assert hub.join() is None

    asyncio.run(watch())


def test_the_exposition_escapes_what_peers_can_choose() -> None:
    out = Exposition()
    labels: Mapping[str, str] = {"source": 'a"b\\c\nd'}
    out.add("x_total", "counter", "line\nbreak", [(labels, 3), ({}, float("nan"))])
    out.add("nothing", "gauge", "no samples", [])
    text = out.text()
    assert text.startswith(
        '# HELP x_total line\\nbreak\n# TYPE x_total counter\nx_total{source="a\\"b\\\\c\\nd"} 3.0\nx_total NaN\n'
    )
    families = list(text_string_to_metric_families(text))
    assert families[0].samples[0].labels == labels
    own = {one.name for one in families}
    assert "nothing" not in own
    assert {"process_cpu_seconds", "process_resident_memory_bytes"} <= own
