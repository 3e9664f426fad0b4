"""Source groups that learn from each other's incidents: they close panes in step, hour by hour.

hours           |           |           |
{log}        ---+-----------+---------->             closes up to an hour before any group learns of that hour
{capture}    ---+-----------+---->                   learns with the incidents of both up to the hour, then continues
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from watchdog.core.finding import Finding


class ClosedPanes(NamedTuple):
    """A group has closed all panes before this time, with these findings; what follows next may be learning."""

    until_ns: int
    findings: list[Finding]


def in_step(
    courses: Iterable[tuple[int, Iterator[ClosedPanes]]], tell: Callable[[int, list[Finding]], None]
) -> list[Finding]:
    """Walk the courses of groups to their ends, the one that is furthest behind first; return all findings.

    courses: by group, its steps. tell: is called with a group and the findings of each of its steps.
    """
    found: list[Finding] = []
    waiting: list[tuple[int, int, Iterator[ClosedPanes]]] = []

    def go(number: int, course: Iterator[ClosedPanes]) -> None:
        step = next(course, None)
        if step is not None:
            found.extend(step.findings)
            tell(number, step.findings)
            heapq.heappush(waiting, (step.until_ns, number, course))

    for number, course in courses:
        go(number, course)
    while waiting:
        go(*heapq.heappop(waiting)[1:])
    return found
