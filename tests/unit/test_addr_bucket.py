"""Core's token bucket for addresses, number by number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watchdog.sources.capture.addr_bucket import AddrBucket

SECOND = 1_000_000


def core_processes(bucket: list[float], elapsed_s: float, entries: int) -> int:
    """The loop of ProcessAddrs, one entry at a time; bucket holds one number."""
    if bucket[0] < 1000:
        bucket[0] = min(bucket[0] + max(elapsed_s, 0.0) * 0.1, 1000)
    processed = 0
    for _ in range(entries):
        if bucket[0] >= 1.0:
            bucket[0] -= 1.0
            processed += 1
    return processed


def test_a_new_connection_may_bring_one_address() -> None:
    bucket = AddrBucket(0)
    assert bucket.spend(0, 10) == 1
    assert bucket.spend(0, 10) == 0


def test_a_token_comes_every_ten_seconds() -> None:
    bucket = AddrBucket(0)
    bucket.spend(0, 1)
    assert bucket.spend(9 * SECOND, 1) == 0
    assert bucket.spend(10 * SECOND, 1) == 1


def test_tokens_stop_at_a_thousand_unless_we_asked() -> None:
    bucket = AddrBucket(0)
    assert bucket.spend(10**6 * SECOND, 1000) == 1000
    assert bucket.spend(10**6 * SECOND, 1) == 0
    bucket.grant()
    bucket.grant()
    assert bucket.tokens == 2000.0
    assert bucket.spend(2 * 10**6 * SECOND, 1000) == 1000
    assert bucket.tokens == 1000.0, "a bucket above its cap is neither filled nor cut"


def test_a_message_beyond_a_thousand_entries_is_refused_before_the_bucket() -> None:
    bucket = AddrBucket(0)
    assert bucket.spend(100 * SECOND, 1001) == 0
    assert bucket.updated_us == 0
    assert bucket.spend(100 * SECOND, 1000) == 11


def test_a_clock_that_steps_back_gives_nothing() -> None:
    bucket = AddrBucket(100 * SECOND)
    assert bucket.spend(0, 5) == 1
    assert bucket.spend(100 * SECOND, 100) == 10, "the clock of the bucket went back with the node's"


@given(st.lists(st.tuples(st.integers(-5, 20_000), st.integers(0, 1000), st.booleans()), max_size=40))
def test_the_bucket_counts_like_the_loop_in_core(steps: list[tuple[int, int, bool]]) -> None:
    bucket, reference, now = AddrBucket(0), [1.0], 0
    for seconds, entries, ask in steps:
        if ask:
            bucket.grant()
            reference[0] += 1000
        now += seconds * SECOND
        assert bucket.spend(now, entries) == core_processes(reference, float(seconds), entries)
        assert bucket.tokens == reference[0]
