"""What can be said to a play about the bus. A stream of subscriptions is a number: 1 is ``s1``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tests.support.lines import collaborate, spec_of
from upbeat_server.engine.bus.message import Publish, Subscribe, SubscribeAction, group_topic, member_name
from upbeat_server.engine.collaboration import groups
from upbeat_server.engine.collaboration.mode import Spawn, Wake
from upbeat_server.engine.events import (
    AgentFrame,
    DeadLettersRuled,
    DeliveriesAcked,
    MessagePublished,
    StreamSubscribed,
    SubscriberLeft,
)
from upbeat_server.engine.model import EPOCH_SHIFT, CustomMode, Payload, TaskId

if TYPE_CHECKING:
    from tests.support.play import Line, Play
    from upbeat_server.engine.collaboration.mode import Child, Facts, Move, Setting
    from upbeat_server.engine.events import Event

PARENT = TaskId(1 << EPOCH_SHIFT | 1)
"""The collaboration whose topic the tests use: the first task of a play."""


def publish_of(topic: str, message_id: str, *, to: str = "", text: str = "", lease_id: int = 0) -> Publish:
    """A message that says its id, if nothing else."""
    payload = Payload("text/plain", (text or message_id).encode())
    return Publish(topic, payload, message_id, to, {}, lease_id)


def say(topic: str, message_id: str, *, by: str = "caller", **fields: Any) -> Line:
    """A party that is no agent publishes."""
    return lambda play: MessagePublished(9, by, publish_of(topic, message_id, **fields))


def agent_says(agent: str, topic: str, message_id: str, **fields: Any) -> Line:
    """An agent publishes in an ordinary topic."""
    publish = publish_of(topic, message_id, **fields)
    return lambda play: AgentFrame(play.sessions[agent], publishes=[publish])


def read(name: str, topic: str = "news", *, stream: int = 1, action: int = SubscribeAction.SUBSCRIBE) -> Line:
    """A stream subscribes under a name, "" for none."""
    return lambda play: StreamSubscribed(stream, [Subscribe(topic, name, 0, action)])


def agent_reads(agent: str, topic: str = "news", *, name: str = "", action: int = 0) -> Line:
    """An agent subscribes in an ordinary topic."""
    subscribe = Subscribe(topic, name, 0, action)
    return lambda play: AgentFrame(play.sessions[agent], subscribes=[subscribe])


def leaves(stream: int) -> Line:
    """A stream of subscriptions is gone."""
    return lambda play: SubscriberLeft(stream)


def acks(name: str, *sequences: int, topic: str = "news", stream: int = 1) -> Line:
    """A stream acknowledges what it read under a name."""
    return lambda play: DeliveriesAcked(stream, _deliveries(play, topic, name, sequences))


def agent_acks(agent: str, *sequences: int, topic: str = "news", name: str = "") -> Line:
    """An agent acknowledges what it read in an ordinary topic."""

    def line(play: Play) -> Event:
        acked = _deliveries(play, topic, name or agent, sequences)
        return AgentFrame(play.sessions[agent], delivery_acks=acked)

    return line


def rule(*numbers: int, topic: str = "", subscriber: str = "", again: bool = False) -> Line:
    """Dead letters are dropped or sent again: these, counted from the oldest, or all."""

    def line(play: Play) -> Event:
        ids = list(play.engine.bus.dead_letters.letters)
        return DeadLettersRuled(9, [ids[number] for number in numbers], topic, subscriber, again)

    return line


# The topic of a group.


def begin_group(play: Play) -> None:
    """The collaboration begins, before anything else of the play."""
    play.limits = msgspec.structs.replace(play.limits, modes={"hand": HandMode()})
    play.engine.modes = play.limits.modes
    play >> collaborate("parent", CustomMode("hand"), max_concurrency=100)
    assert play.tasks["parent"] == PARENT


def be_child(play: Play, name: str, **fields: Any) -> None:
    """A child of the collaboration is made, and waits."""
    spawn = Spawn(name, spec_of(**fields))
    play.change(lambda engine: groups.tell(engine, engine.groups[PARENT], lambda: [spawn], engine.clock_ms))
    task_id = play.tasks[name] = play.tasks.pop(f"parent/{name}")
    play.names[task_id] = name


class HandMode:
    """A mode whose moves a test makes by hand."""

    def faults(self, _custom: CustomMode) -> tuple[()]:
        """Nothing is wrong."""
        return ()

    def children_max(self, _custom: CustomMode) -> int:
        """As many as a test makes."""
        return 100

    def reducer(self, _setting: Setting) -> HandMode:
        """Itself: it knows nothing."""
        return self

    def begin(self, _facts: Facts) -> list[Move]:
        """Wait for ever."""
        return [Wake(1 << 40)]

    def ended(self, _child: Child) -> list[Move]:
        """Wait on."""
        return []

    def woken(self, _facts: Facts) -> list[Move]:
        """Wait on."""
        return []


def child_says(lease: str, message_id: str, *, to: str = "") -> Line:
    """Whoever holds the lease publishes in the topic of the group."""

    def line(play: Play) -> Event:
        lease_id = play.lease(lease)
        sibling = member_name(play.tasks[to]) if to else ""
        publish = publish_of(group_topic(PARENT), message_id, to=sibling, lease_id=lease_id)
        return AgentFrame(play.sessions[play.holders[lease_id]], publishes=[publish])

    return line


def child_reads(lease: str, *, action: int = SubscribeAction.SUBSCRIBE) -> Line:
    """Whoever holds the lease asks for the messages of the child."""

    def line(play: Play) -> Event:
        lease_id = play.lease(lease)
        subscribe = Subscribe(group_topic(PARENT), "", lease_id, action)
        return AgentFrame(play.sessions[play.holders[lease_id]], subscribes=[subscribe])

    return line


def child_acks(lease: str, *sequences: int) -> Line:
    """Whoever holds the lease acknowledges messages of the child."""

    def line(play: Play) -> Event:
        lease_id = play.lease(lease)
        name = member_name(play.tasks[lease.partition(".")[0]])
        acked = _deliveries(play, group_topic(PARENT), name, sequences)
        return AgentFrame(play.sessions[play.holders[lease_id]], delivery_acks=acked)

    return line


def _deliveries(play: Play, topic: str, name: str, sequences: tuple[int, ...]) -> list[tuple[int, int]]:
    subscriptions = play.engine.bus.topics[topic].subscriptions.values()
    subscription = next(sub for sub in subscriptions if sub.name == name)
    return [(subscription.subscription_id, sequence) for sequence in sequences]
