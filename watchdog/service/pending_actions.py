"""Operators' actions that wait for event time, and which ones are applied already."""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from alerts.store.actions import Action


@dataclass(frozen=True, slots=True, order=True)
class PendingAction:
    """An action that waits; parts: those whose event time has not reached `at_ns` yet."""

    at_ns: int
    id: int
    action: Action = field(compare=False)
    parts: set[int] = field(compare=False)


class PendingActions:
    """In the order of their times; belongs to the engine's thread. Ids come from the database and increase.

    last_id: the latest action taken in, waiting or applied. A checkpoint holds `applied_up_to` and `applied_early`.
    """

    def __init__(self) -> None:
        self.last_id = 0
        self._waiting: list[PendingAction] = []
        self._early: set[int] = set()  # ids applied before an older action that still waits

    def __len__(self) -> int:
        return len(self._waiting)

    def restore(self, applied_up_to: int, applied_early: Collection[int]) -> None:
        """Continue from a checkpoint."""
        self.last_id, self._early = applied_up_to, set(applied_early)

    def forget_after(self, last_id: int) -> None:
        """Forget ids beyond the latest in the database: a new database numbers from 1 again."""
        self.last_id = min(self.last_id, last_id)
        self._early = {id_ for id_ in self._early if id_ <= last_id}

    def receive(self, action: Action) -> bool:
        """Note that an action came; False when it was applied before the checkpoint."""
        self.last_id = max(self.last_id, action.id)
        return action.id not in self._early

    def wait(self, action: Action, parts: set[int]) -> None:
        """Keep an action until these parts have reached its time."""
        insort(self._waiting, PendingAction(action.at_ns, action.id, action, parts))

    def wait_again(self, parts: Collection[int]) -> None:
        """Wait for all of these parts: a change of rules renumbered them."""
        for pending in self._waiting:
            pending.parts.update(parts)

    def reached(self, part: int, time_ns: int, *, ended: bool) -> Iterator[PendingAction]:
        """Yield the actions that waited for a part and now no longer do; `remove` those that are applied.

        ended: the part's sources have ended, so that no later time comes.
        """
        for pending in list(self._waiting):
            if part in pending.parts and (ended or pending.at_ns <= time_ns):
                pending.parts.discard(part)
                yield pending

    def remove(self, pending: PendingAction) -> None:
        """Stop waiting for an action that is about to be applied."""
        self._waiting.remove(pending)

    def pop_all(self) -> Iterator[Action]:
        """Yield all actions that wait, removing each."""
        while self._waiting:
            yield self._waiting.pop(0).action

    def applied(self, id_: int) -> None:
        """Note that an action was applied."""
        self._early = {early for early in self._early | {id_} if early > self.applied_up_to}

    @property
    def applied_up_to(self) -> int:
        """Every action up to this id has been applied."""
        return min((pending.id for pending in self._waiting), default=self.last_id + 1) - 1

    @property
    def applied_early(self) -> tuple[int, ...]:
        """Ids beyond `applied_up_to` that have been applied, sorted."""
        return tuple(sorted(id_ for id_ in self._early if id_ > self.applied_up_to))
