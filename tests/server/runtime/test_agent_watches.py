"""Watches of agents."""

from __future__ import annotations

import pytest

from upbeat_server.engine import reasons
from upbeat_server.engine.agent import Agent
from upbeat_server.engine.model import Refusal
from upbeat_server.engine.predictor import Predictor
from upbeat_server.runtime.agent_watches import AgentWatches
from upbeat_server.runtime.refused import Refused


async def test_changes_of_one_agent_replace_each_other() -> None:
    watches, predictor = AgentWatches(), Predictor()
    watch = watches.open()
    first, second = Agent("first", 1), Agent("second", 2)
    for slots in (1, 2, 3):
        first.slots = slots
        watches.publish(first, predictor)
        watches.publish(second, predictor)
    taken = await watch.take(10)
    assert [(agent.agent_id, agent.slots) for agent in taken] == [("first", 3), ("second", 0)]


async def test_what_was_learned_of_an_agent_is_told() -> None:
    watches, predictor = AgentWatches(), Predictor()
    watch = watches.open()
    agent = Agent("a", 1)
    agent.capabilities = frozenset(("echo", "other"))
    predictor.learn("echo", "a", 100.0, completed=True)
    watches.publish(agent, predictor)
    (told,) = await watch.take(1)
    assert [(line.type, line.count, line.success_rate) for line in told.performance] == [("echo", 1, 1.0)]
    assert told.performance[0].duration_ms == pytest.approx(100.0)


async def test_a_watch_takes_a_frame_at_a_time_and_ends_with_its_namespace() -> None:
    watches, predictor = AgentWatches(), Predictor()
    watch = watches.open()
    for number in range(3):
        watches.publish(Agent(f"a{number}", number), predictor)
    assert [len(await watch.take(2)) for _ in range(2)] == [2, 1]
    watches.end(Refusal(reasons.DRAINING, "bye"))
    with pytest.raises(Refused):
        await watch.take(1)
    watch.close()
    assert watches.count == 0
