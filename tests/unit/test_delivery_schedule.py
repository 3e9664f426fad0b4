"""Retry times, Retry-After, the circuit breaker and the token bucket: arithmetic only."""

from __future__ import annotations

import math
import random
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.delivery.schedule import (
    DELAYS_S,
    HORIZON_S,
    JITTER,
    MAX_ATTEMPTS,
    OPEN_S,
    RETRY_AFTER_CAP_S,
    TRIP_AFTER,
    Breaker,
    Bucket,
    RetryDecision,
    given_up,
    retry_after,
    retry_delay,
    verdict,
)

NOW_NS = 1_780_000_000 * 10**9


@given(st.integers(1, 2 * MAX_ATTEMPTS), st.none() | st.floats(0, 1e9), st.integers(0, 999))
def test_a_delay_keeps_its_bounds_and_is_never_earlier_than_asked(
    attempts: int, asked: float | None, seed: int
) -> None:
    delay = retry_delay(attempts, asked, random.Random(seed))
    planned = DELAYS_S[min(attempts, len(DELAYS_S)) - 1]
    assert planned * (1 - JITTER) <= delay <= HORIZON_S
    assert delay >= min(asked or 0, RETRY_AFTER_CAP_S)


def test_the_schedule_covers_the_hours_of_standard_webhooks() -> None:
    waits = [DELAYS_S[min(attempt, len(DELAYS_S)) - 1] for attempt in range(1, MAX_ATTEMPTS)]
    assert 74.9 * 3600 <= sum(waits) <= 75.7 * 3600


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (None, RetryDecision.FAILED),
        (200, RetryDecision.ACCEPTED),
        (299, RetryDecision.ACCEPTED),
        (301, RetryDecision.FAILED),
        (400, RetryDecision.FAILED),
        (401, RetryDecision.FAILED),
        (404, RetryDecision.FAILED),
        (410, RetryDecision.GONE),
        (413, RetryDecision.REFUSED),
        (422, RetryDecision.REFUSED),
        (429, RetryDecision.FAILED),
        (503, RetryDecision.FAILED),
    ],
)
def test_what_statuses_mean(status: int | None, meaning: RetryDecision) -> None:
    assert verdict(status) is meaning


def test_when_a_notice_is_given_up() -> None:
    assert not given_up(2, RetryDecision.REFUSED, others_accepted=False)
    assert given_up(3, RetryDecision.REFUSED, others_accepted=False)
    assert not given_up(MAX_ATTEMPTS - 1, RetryDecision.FAILED, others_accepted=False)
    assert given_up(MAX_ATTEMPTS, RetryDecision.FAILED, others_accepted=False)
    assert given_up(12, RetryDecision.FAILED, others_accepted=True)
    assert not given_up(12, RetryDecision.FAILED, others_accepted=False)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("0", 0),
        (" 120 ", 120),
        ("99999999999999999999", RETRY_AFTER_CAP_S),
        (formatdate(NOW_NS // 10**9 + 90, usegmt=True), 90),
        (formatdate(NOW_NS // 10**9 - 90, usegmt=True), 0),
        (formatdate(NOW_NS // 10**9 + 90_000, usegmt=True), RETRY_AFTER_CAP_S),
        (formatdate(NOW_NS // 10**9 + 90), 90),
    ],
)
def test_retry_after_in_both_forms(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW_NS) == seconds


@pytest.mark.fuzz
@given(
    st.text(max_size=60)
    | st.from_regex(r"\A[A-Z][a-z]{2}, [0-9]{1,5} [A-Z][a-z]{2} -?[0-9]{1,9} [0-9:]{1,12} [-+]?[0-9A-Z]{1,6}\Z")
)
def test_retry_after_is_total(header: str) -> None:
    seconds = retry_after(header, NOW_NS)
    assert seconds is None or 0 <= seconds <= RETRY_AFTER_CAP_S


def test_the_breaker_opens_after_failures_in_a_row_and_waits_longer_each_time() -> None:
    breaker, chance, now = Breaker(), random.Random(1), 100.0
    assert [breaker.failed(now, chance) for _ in range(TRIP_AFTER)] == [False] * (TRIP_AFTER - 1) + [True]
    waits = []
    for _ in range(7):
        waits.append(breaker.wait_s(now))
        assert breaker.wait_s(now) > 0
        now += waits[-1]
        assert breaker.wait_s(now) == 0
        assert not breaker.failed(now, chance), "the outage was told already"
    expected = [*OPEN_S, OPEN_S[-1], OPEN_S[-1]]
    assert all(abs(wait - planned) <= planned * JITTER + 1e-6 for wait, planned in zip(waits, expected, strict=True))
    assert breaker.accepted()
    assert not breaker.is_open
    assert not breaker.accepted(), "an outage ends once"


def test_answers_that_were_under_way_together_open_the_breaker_once() -> None:
    breaker, chance = Breaker(), random.Random(1)
    for _ in range(16):
        breaker.failed(5.0, chance)
    assert breaker.opened == 1
    assert breaker.wait_s(5.0) <= OPEN_S[0] * (1 + JITTER)


@given(st.integers(1, 600), st.lists(st.floats(0, 30), max_size=200))
def test_a_bucket_never_gives_more_than_its_rate_and_one_minutes_burst(rate: int, gaps: list[float]) -> None:
    bucket, now, taken = Bucket(rate), 0.0, 0
    for gap in gaps:
        now += gap
        wait = bucket.take(now)
        taken += wait == 0
        assert 0 <= wait <= 60 / rate + 1e-6
    assert taken <= rate + rate * now / 60 + 1e-6


def test_a_bucket_gives_after_the_wait_that_it_named_and_without_a_rate_at_once() -> None:
    bucket = Bucket(2)
    assert [bucket.take(0.0), bucket.take(0.0)] == [0, 0]
    wait = bucket.take(0.0)
    assert bucket.take(wait + 1e-6) == 0
    assert {Bucket(0).take(0.0) for _ in range(9)} == {0}


def test_a_bucket_says_what_may_go_at_once() -> None:
    bucket = Bucket(60)
    assert bucket.available(0.0) == 60
    bucket.take(0.0)
    assert [bucket.available(now) for now in (0.0, 0.5, 9.0)] == [59, 59.5, 60]
    assert Bucket(0).available(0.0) == math.inf


def test_a_part_of_the_rate_is_kept_for_what_is_urgent() -> None:
    bucket = Bucket(10)
    assert [bucket.take(0.0, urgent=False) for _ in range(8)] == [0] * 8
    wait = bucket.take(0.0, urgent=False)
    assert wait == 6
    assert [bucket.take(0.0), bucket.take(0.0)] == [0, 0]
    assert bucket.take(0.0) == 6
    assert Bucket(1).take(0.0, urgent=False) == 0, "a low rate is not reserved away"
