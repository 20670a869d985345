"""What does without an engine: the measures that policies are held against. All answer latencies in ms."""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench.replay.fleet import Fleet


def oracle(fleet: Fleet) -> list[int]:
    """Each request is bound at once to the slot that will finish it first; all durations are known."""
    free_ms = [[0] * fleet.shape.slots for _ in fleet.speeds]
    latencies = []
    for request, arrival_ms in enumerate(fleet.arrivals_ms):
        ends = []
        for agent, slots in enumerate(free_ms):
            start_ms = max(arrival_ms, slots[0])
            ends.append((start_ms + fleet.run_ms(request, agent, start_ms), agent))
        end_ms, agent = min(ends)
        heapreplace(free_ms[agent], end_ms)
        latencies.append(end_ms - arrival_ms)
    return latencies


def pull_workers(fleet: Fleet) -> list[int]:
    """Each free slot takes the oldest request; the slot that has been free the longest goes first."""
    idle = deque(agent for _ in range(fleet.shape.slots) for agent in range(len(fleet.speeds)))
    return _late(fleet, idle)


def _late(fleet: Fleet, idle: deque[int]) -> list[int]:
    latencies = [0] * len(fleet.arrivals_ms)
    waiting: deque[int] = deque()
    events = [(arrival_ms, request, -1) for request, arrival_ms in enumerate(fleet.arrivals_ms)]
    heapify(events)
    while events:
        now_ms, request, agent = heappop(events)
        if agent < 0:
            waiting.append(request)
        else:
            latencies[request] = now_ms - fleet.arrivals_ms[request]
            idle.append(agent)
        while waiting and idle:
            request, agent = waiting.popleft(), idle.popleft()
            heappush(events, (now_ms + fleet.run_ms(request, agent, now_ms), request, agent))
    return latencies


def bound_at_once(fleet: Fleet) -> list[int]:
    """Each request queues up at the agent that has the fewest when it arrives (join the shortest queue)."""
    agents = range(len(fleet.speeds))
    queues: list[deque[int]] = [deque() for _ in agents]
    running = [0] * len(queues)
    latencies = [0] * len(fleet.arrivals_ms)
    events = [(arrival_ms, request, -1) for request, arrival_ms in enumerate(fleet.arrivals_ms)]
    heapify(events)
    turn = 0
    while events:
        now_ms, request, agent = heappop(events)
        if agent < 0:
            turn += 1  # Ties go round.
            agent = min(
                agents, key=lambda each: (running[each] + len(queues[each]), (each + turn) % len(queues))
            )
            queues[agent].append(request)
        else:
            latencies[request] = now_ms - fleet.arrivals_ms[request]
            running[agent] -= 1
        while queues[agent] and running[agent] < fleet.shape.slots:
            running[agent] += 1
            request = queues[agent].popleft()
            heappush(events, (now_ms + fleet.run_ms(request, agent, now_ms), request, agent))
    return latencies


BASELINES = {"least loaded, bound at once": bound_at_once, "pull workers": pull_workers, "oracle": oracle}
