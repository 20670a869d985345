"""Quotas: what all tasks that name one key in their ``limits`` may use together.

A quota is *shut* while it has no room for one more attempt. What tasks name together is a ``Gate``;
a task is handed out only while no quota of its gate is shut. Those that cannot go are not looked at
(``racks.py``): a quota says when it shuts and when it has room again.

Running counts what agents hold, attempts that are being stopped included, until the agent has answered
or its session has ended. A start takes a token, which comes back a window later: with ``n`` tokens and
a window of ``n / per_second`` (n is per_second rounded up, so that a window is never shorter than a second)
there are at most n starts in any window, wherever it begins. A bucket that is filled evenly would either
let twice as many start within a second or lose whatever a turn is late. Within the window starts are
paced (the generic cell rate algorithm), or all of one window would come at once just before all of the
next, and an agent that is told a millisecond early would see twice the limit.

Where unfinished tasks name one key with different numbers, the smallest hold: nobody's limit is exceeded,
in whatever order they came, and a restart finds the same numbers.

After a restart nobody knows what ended just before it: for a window all tokens are taken.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from math import ceil
from typing import TYPE_CHECKING

from upbeat_server.engine.racks import Rack, Row
from upbeat_server.engine.smallest import Smallest
from upbeat_server.engine.timers import WAKE_NEVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upbeat_server.engine.lane import Lane
    from upbeat_server.engine.model import Limit
    from upbeat_server.engine.queue import Queue


PAST_MS = 2_000
"""How long a start is remembered whose token is back, for a window that becomes longer. Longer ones than
this have one token, so that the last start is all they need to know of."""


AHEAD_MS = 50
"""By how much starts may be ahead of an even pace: so many come at once, and a late turn costs nothing."""


class Quota:
    """One key, and what is in use of it."""

    __slots__ = (
        "_most_running",
        "_paced_ms",
        "_past",
        "_rates",
        "_starts",
        "born_ms",
        "due_ms",
        "key",
        "live",
        "max_running",
        "per_second",
        "rows",
        "running",
        "shut",
        "tokens",
        "used",
        "window_ms",
    )

    def __init__(self, key: str, born_ms: int) -> None:
        self.key = key
        self.born_ms = born_ms  # Nothing is known of starts before.
        self.live = 0  # Unfinished tasks that name it.
        self.running = 0
        self.shut = False
        self.rows: dict[Lane, Row] = {}
        self.max_running = 0  # The smallest that is named; 0: none is.
        self.per_second = 0.0
        self.tokens = 0  # Starts within a window; 0: any number.
        self.window_ms = 0
        self.used = 0  # Tokens taken that are not back.
        self.due_ms = 0  # When it is looked at again; 0: not by itself.
        self._starts: deque[list[int]] = deque()  # [ms, how many] of tokens taken, oldest first.
        self._past: deque[list[int]] = deque()  # The same of tokens that are back.
        self._paced_ms = 0.0  # When the next start would come at an even pace.
        self._most_running = Smallest()
        self._rates = Smallest()

    def name(self, limit: Limit) -> None:
        """A task names it."""
        self.live += 1
        self._most_running.add(limit.max_running)
        self._rates.add(limit.per_second)
        self._read_numbers()

    def unname(self, limit: Limit) -> None:
        """A task that named it has ended."""
        self.live -= 1
        self._most_running.remove(limit.max_running)
        self._rates.remove(limit.per_second)
        self._read_numbers()

    def _read_numbers(self) -> None:
        self.max_running = int(self._most_running.value)
        if self.per_second != self._rates.value:
            self.per_second = self._rates.value
            self.tokens = ceil(self.per_second)
            if self.tokens:  # Else the last window holds: what was started is remembered for so long.
                self.window_ms = ceil(1000 * self.tokens / self.per_second)
                self._starts.extendleft(reversed(self._past))  # A longer window reaches back to them.
                self.used += sum(count for _, count in self._past)
                self._past.clear()
                if self._starts:
                    self._paced_ms = self._starts[-1][0] + 1000 / self.per_second

    def start(self, now_ms: int) -> None:
        """An attempt is handed out."""
        self.running += 1
        if self.tokens:
            self._take_back(now_ms)
            self.used += 1
            self._paced_ms = max(self._paced_ms, now_ms) + 1000 / self.per_second
            if self._starts and self._starts[-1][0] == now_ms:
                self._starts[-1][1] += 1
            else:
                self._starts.append([now_ms, 1])

    def _take_back(self, now_ms: int) -> None:
        """Tokens that were taken a window ago are there again."""
        starts, past = self._starts, self._past
        while starts and starts[0][0] <= now_ms - self.window_ms:
            self.used -= starts[0][1]
            past.append(starts.popleft())
        while past and past[0][0] <= now_ms - PAST_MS and (starts or len(past) > 1):
            past.popleft()

    def is_full(self) -> bool:
        """Whether as many run as may."""
        return 0 < self.max_running <= self.running

    def token_ms(self, now_ms: int) -> int:
        """When the next token is there; 0: it is."""
        if not self.tokens:
            return 0
        self._take_back(now_ms)
        known_ms = max(self.born_ms + self.window_ms, ceil(self._paced_ms) - AHEAD_MS)
        if self.used >= self.tokens:
            known_ms = max(known_ms, self._starts[0][0] + self.window_ms)
        return known_ms if known_ms > now_ms else 0

    def forget_ms(self, now_ms: int) -> int:
        """When it can be forgotten; 0: now. Nobody names it and nothing runs."""
        self._take_back(now_ms)
        return self._starts[-1][0] + self.window_ms if self._starts else 0

    def started(self, now_ms: int) -> int:
        """How many started within the last window."""
        return sum(count for start_ms, count in self._starts if start_ms > now_ms - self.window_ms)

    def row_in(self, lane: Lane) -> Row:
        """Its row in a lane."""
        row = self.rows.get(lane)
        if row is None:
            row = self.rows[lane] = Row(lane, self)
        return row


class Gate:
    """Quotas that tasks name together, in the order of their keys."""

    __slots__ = ("live", "quotas", "racks")

    def __init__(self, quotas: tuple[Quota, ...]) -> None:
        self.quotas = quotas
        self.live = 0  # Unfinished tasks that name exactly these.
        self.racks: dict[Lane, Rack] = {}

    def blocker(self) -> Quota | None:
        """The first quota that is shut; None: tasks may go."""
        for quota in self.quotas:
            if quota.shut:
                return quota
        return None

    def rack_in(self, lane: Lane) -> Rack:
        """Its rack in a lane."""
        rack = self.racks.get(lane)
        if rack is None:
            rack = self.racks[lane] = Rack(lane, self, self.quotas[0].row_in(lane))
        return rack


class Quotas:
    """All quotas of a namespace."""

    __slots__ = ("_born_ms", "_dues", "_gates", "_queue", "by_key", "due_ms", "stopping")

    def __init__(self, queue: Queue, born_ms: int) -> None:
        self._queue = queue
        self._born_ms = born_ms
        self._gates: dict[tuple[str, ...], Gate] = {}
        self._dues: list[tuple[int, str]] = []
        self.by_key: dict[str, Quota] = {}
        self.due_ms = WAKE_NEVER  # When ``look`` is wanted.
        # Attempts whose task moved on, and that their agents have not answered yet, by lease.
        self.stopping: dict[int, Gate] = {}

    def name(self, limits: Sequence[Limit], now_ms: int) -> Gate:
        """A task that names these limits, in the order of their keys, is live. Answers its gate."""
        keys = tuple(limit.key for limit in limits)
        gate = self._gates.get(keys)
        if gate is None:
            gate = self._gates[keys] = Gate(tuple(self._quota(key) for key in keys))
        gate.live += 1
        for limit, quota in zip(limits, gate.quotas, strict=True):
            quota.name(limit)
            self._settle(quota, now_ms)
        return gate

    def unname(self, gate: Gate, limits: Sequence[Limit], now_ms: int) -> None:
        """A task has ended."""
        gate.live -= 1
        if not gate.live:
            del self._gates[tuple(quota.key for quota in gate.quotas)]
        for limit, quota in zip(limits, gate.quotas, strict=True):
            quota.unname(limit)
            self._settle(quota, now_ms)

    def _quota(self, key: str) -> Quota:
        quota = self.by_key.get(key)
        if quota is None:
            quota = self.by_key[key] = Quota(key, self._born_ms)
        return quota

    def start(self, gate: Gate, now_ms: int) -> None:
        """An attempt is handed out."""
        for quota in gate.quotas:
            quota.start(now_ms)
            self._settle(quota, now_ms)

    def adopt(self, gate: Gate, now_ms: int) -> None:
        """An attempt was running when the server stopped."""
        for quota in gate.quotas:
            quota.running += 1
            self._settle(quota, now_ms)

    def end(self, gate: Gate, lease_id: int, now_ms: int) -> None:
        """An attempt has ended; if its agent has yet to stop it, it counts until then."""
        if lease_id not in self.stopping:
            self._release(gate, now_ms)

    def answered(self, lease_id: int, now_ms: int) -> None:
        """The agent has stopped an attempt whose task moved on, or cannot be asked any more."""
        gate = self.stopping.pop(lease_id, None)
        if gate is not None:
            self._release(gate, now_ms)

    def _release(self, gate: Gate, now_ms: int) -> None:
        for quota in gate.quotas:
            quota.running -= 1
            self._settle(quota, now_ms)

    def _settle(self, quota: Quota, now_ms: int) -> None:
        """Shut or open it, and note when it has to be looked at again."""
        due_ms = quota.token_ms(now_ms)
        was_shut, quota.shut = quota.shut, quota.is_full() or due_ms > 0
        if was_shut and not quota.shut:
            self._open(quota)
        if not quota.live and not quota.running:
            due_ms = quota.forget_ms(now_ms)
            if not due_ms:
                self.by_key.pop(quota.key, None)
        # One that is noted too early is looked at then, and noted anew.
        if due_ms and not 0 < quota.due_ms <= due_ms:
            quota.due_ms = due_ms
            heappush(self._dues, (due_ms, quota.key))
            self.due_ms = self._dues[0][0]

    def _open(self, quota: Quota) -> None:
        """Give its rows back to their lanes."""
        ready = self._queue.ready
        for lane, row in quota.rows.items():
            rank = row.least()
            if rank is not None:
                lane.enter(row, rank)
                if lane.signature.free_profiles:
                    ready[lane.priority].enter(lane, rank)
                elif rank < lane.bound:
                    lane.listed = False  # As in Queue.push.

    def look(self, now_ms: int) -> None:
        """Open those whose next token is there, and forget those that nobody names any more."""
        dues = self._dues
        while dues and dues[0][0] <= now_ms:
            due_ms, key = heappop(dues)
            quota = self.by_key.get(key)
            if quota is not None and quota.due_ms == due_ms:
                quota.due_ms = 0
                self._settle(quota, now_ms)
        self.due_ms = dues[0][0] if dues else WAKE_NEVER
