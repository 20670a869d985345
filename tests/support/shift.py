"""Agents of a play that take a fixed time for each type of task: schedules on engine time."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from tests.support.lines import ack, answer, beat
from tests.support.play import START_MS
from upbeat_server.engine.commands import Assign
from upbeat_server.engine.model import FINISHED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.support.play import Play


BEAT_MS = 1_000
UNTIL_MS = 1_000_000


class Shift:
    """Takes every assignment of a play and answers it with what it was given, ``ms_by_type`` later."""

    def __init__(self, play: Play, ms_by_type: Mapping[str, int]) -> None:
        self._play = play
        self._ms_by_type = ms_by_type
        self._ends: list[tuple[int, int, str, bytes]] = []  # When, how many before it, of which lease, what.
        self.started_ms: dict[str, int] = {}  # By the name of the task.

    def work(self, until_over: str, look: Callable[[], None] = lambda: None) -> int:
        """Until a task has ended; ``look`` is called after every turn. Answers how long it took."""
        play, began_ms = self._play, self._play.now_ms
        self._take()
        while play.stored(until_over).state not in FINISHED:
            due_ms = [end_ms for end_ms, _, _, _ in self._ends[:1]]
            wake_ms = play.engine.next_wake_ms - START_MS
            play.at(max(play.now_ms, min(*due_ms, wake_ms, play.now_ms + BEAT_MS)))
            play.together(*(beat(name) for name in play.sessions))
            self._take()
            look()
            while self._ends and self._ends[0][0] <= play.now_ms:
                _, _, lease, output = heapq.heappop(self._ends)
                play >> answer(lease, output or b"null")
                self._take()
                look()
            assert play.now_ms < UNTIL_MS, "nothing more happens"
        return play.now_ms - began_ms

    def _take(self) -> None:
        said, self._play.unread = self._play.unread, []
        for command in said:
            if not isinstance(command, Assign):
                continue
            name = self._play.task_name(command.task.task_id)
            self.started_ms[name] = self._play.now_ms
            end_ms = self._play.now_ms + self._ms_by_type[command.task.spec.type]
            lease = f"{name}.{command.task.record.attempt}"
            entry = (end_ms, len(self.started_ms), lease, command.task.spec.input.data)
            heapq.heappush(self._ends, entry)
            self._play.tell(ack(lease)(self._play))
