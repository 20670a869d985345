"""The tasks that a call about many of them means: a filter, walked in bounded portions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from upbeat_server.engine.model import TaskState
from upbeat_server.rpc.filter import read_filter
from upbeat_server.rpc.ids import task_text
from upbeat_server.rpc.page_token import PageTokens, read_page_size
from upbeat_server.runtime.refused import invalid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from upbeat_server.runtime.orchestrator import Orchestrator
    from upbeat_server.runtime.snapshot import TaskSnapshot
    from upbeat_server.store.store import TaskQuery

LIMIT_DEFAULT: Final = 1_000
LIMIT_MAX: Final = 10_000
PORTION: Final = 100
"""Tasks at once: what is done to them is one commit, and others have their turn in between."""


class Selection:
    """The tasks of one call, oldest first. ``next_page_token`` is set when its portions are through."""

    def __init__(
        self,
        orchestrator: Orchestrator,
        namespace: str,
        purpose: str,
        states: Sequence[TaskState],
        states_allowed: Sequence[TaskState],
    ) -> None:
        """``states`` are meant by a filter that names none; it may name those that are allowed."""
        self.next_page_token = ""
        self._orchestrator = orchestrator
        self._namespace = namespace
        self._purpose = purpose
        self._states = states
        self._states_allowed = states_allowed
        self._tokens = PageTokens(orchestrator.secret)

    async def portions(
        self, filter_text: str, page_token: str, limit: int
    ) -> AsyncIterator[list[TaskSnapshot]]:
        """At most ``limit`` tasks. Raises Refused for a filter, token or limit that cannot be used."""
        query = self._query(filter_text)
        if limit < 0:
            raise invalid(
                "limit", f"{limit} is negative; 0 means {LIMIT_DEFAULT:,}, the most is {LIMIT_MAX:,}"
            )
        left = read_page_size(limit, LIMIT_DEFAULT, LIMIT_MAX)
        listing = (self._purpose, self._namespace, filter_text)
        # What comes in after the first call, a retry that failed at once perhaps, is not meant.
        after, _, now = self._tokens.read(listing, page_token).partition(",")
        after_id = int(after, 16) if after else 0
        before_ms = int(now) if now else self._orchestrator.now_ms() + 1
        query = msgspec.structs.replace(query, create_to_ms=min(query.create_to_ms or before_ms, before_ms))
        while left:
            rows = await self._orchestrator.list_tasks(
                self._namespace, msgspec.structs.replace(query, after_id=after_id), min(left, PORTION)
            )
            if not rows:
                return
            yield rows
            left -= len(rows)
            after_id = rows[-1].record.task_id
        self.next_page_token = self._tokens.make(listing, f"{task_text(after_id)},{before_ms}")

    def _query(self, filter_text: str) -> TaskQuery:
        if not filter_text.strip():
            raise invalid("filter", """must not be empty: for all tasks write 'parent = ""'""")
        query = read_filter(filter_text)
        wrong = [TaskState(state).name for state in query.states if state not in self._states_allowed]
        if wrong:
            allowed = ", ".join(state.name for state in self._states_allowed)
            raise invalid(
                "filter", f"state {wrong[0]} cannot be meant to {self._purpose}; one of {allowed} can"
            )
        return msgspec.structs.replace(
            query,
            states=query.states or tuple(map(int, self._states)),
            roots=query.roots or not query.parent_id,
        )
