"""Which parts of the rules cases wait for in a running service."""

from __future__ import annotations

import pytest

from watchdog.pipeline.silent_parts import LONGEST_STEP_S, PATIENCE_S, SilentParts


class HandClock:
    """A monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_a_part_that_stands_still_for_two_minutes_behind_another_is_not_waited_for() -> None:
    clock = HandClock()
    parts = SilentParts(clock)
    for second in range(int(PATIENCE_S)):
        assert parts.heard([100 + second, 100], [True, True]) == [100 + second, 100]
        clock.sleep(1)
    assert parts.heard([300, 100], [True, True]) == [300]
    assert parts.heard([301, 101], [True, True]) == [301, 101], "it is back"


def test_a_part_that_is_far_behind_and_advances_is_waited_for() -> None:
    clock = HandClock()
    parts = SilentParts(clock)
    for second in range(600):
        assert parts.heard([10**18 + second, second], [True, True])[1] == second
        clock.sleep(1)


def test_a_machine_that_slept_has_not_found_a_part_silent() -> None:
    clock = HandClock()
    parts = SilentParts(clock)
    parts.heard([100, 100], [True, True])
    clock.sleep(10 * PATIENCE_S)
    assert parts.heard([200, 100], [True, True]) == [200, 100]
    assert LONGEST_STEP_S < PATIENCE_S


def test_parts_that_have_ended_are_not_waited_for_and_silence_of_all_changes_nothing() -> None:
    clock = HandClock()
    parts = SilentParts(clock)
    assert parts.heard([200, 100], [True, False]) == [200]
    for _ in range(300):
        assert parts.heard([200, 100, 150], [False, True, False]) == [100]
        clock.sleep(1)
    assert parts.heard([], []) == []


@pytest.mark.parametrize("parts_now", [1, 3])
def test_other_rules_have_other_parts(parts_now: int) -> None:
    parts = SilentParts(HandClock())
    parts.heard([5, 6], [True, True])
    assert parts.heard([7] * parts_now, [True] * parts_now) == [7] * parts_now
