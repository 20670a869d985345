"""The topics of collaborations: the children of one talk to each other.

The subscriber is the child, not the agent: what it has not acknowledged waits for its
next attempt. It is subscribed from when it is made until it has ended; what it wants is
delivered to whoever holds its lease and asks for it. Nobody else reads or publishes, and
the topic dies with the group. All of this may be repeated: a restart finds the same.

Most groups never say a word. Their topic, and a subscription for each child, is made with
the first word, or when the first child listens; nobody could tell that from their having
been there all the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.bus.message import Source, group_topic, member_name
from upbeat_server.engine.bus.subscription import Subscription
from upbeat_server.engine.model import Refusal

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.model import TaskId
    from upbeat_server.engine.task import Task


def open_group(engine: Engine, parent_id: TaskId) -> None:
    """The children of a collaboration have a topic."""
    engine.bus.open_topic(group_topic(parent_id), parent_id)


def assemble(engine: Engine, task: Task) -> None:
    """A child is about to speak or to listen: all that are live subscribe, if they have not yet."""
    group = task.member_of
    if group is None or group.task.task_id in engine.bus.group_topics:
        return
    open_group(engine, group.task.task_id)
    for sibling in group.live.values():
        if sibling.spec.collaboration is None:  # Nobody speaks for a nested one.
            join(engine, group.task.task_id, sibling.task_id)


def join(engine: Engine, parent_id: TaskId, task_id: TaskId, *, is_restored: bool = False) -> None:
    """A child is made, or is there after a restart. It wants everything that is still kept, from the start.

    There is no note of it before it has acknowledged something: collaborations whose children do not
    talk cost the store nothing.
    """
    bus = engine.bus
    topic = bus.group_topics.get(parent_id)
    if topic is None:
        return
    name = member_name(task_id)
    if name not in topic.subscriptions:
        member = Subscription(engine.next_id(), topic, name, Source.MEMBER, name)
        member.doubt_below = topic.next_sequence if is_restored else 0
        bus.enter(member)
        bus.want_all(member, floor=0)


def attempt_ended(engine: Engine, task: Task) -> None:
    """A lease of a child is over: nothing is delivered until the next one asks for it."""
    if task.record.parent_id not in engine.bus.group_topics:
        return  # As for most.
    member = _member(engine, task.record.parent_id, task.task_id)
    if member is not None:
        engine.bus.detach(engine, member)


def leave(engine: Engine, parent_id: TaskId, task_id: TaskId) -> None:
    """A child has ended: it wants nothing any more."""
    if parent_id not in engine.bus.group_topics:
        return
    member = _member(engine, parent_id, task_id)
    if member is not None:
        engine.bus.forget(engine, member)


def close_group(engine: Engine, parent_id: TaskId) -> None:
    """A collaboration has ended: what was said in it is forgotten."""
    topic = engine.bus.group_topics.get(parent_id)
    if topic is None:
        return
    for member in list(topic.subscriptions.values()):
        engine.bus.forget(engine, member)
    engine.bus.close_topic(engine, topic)


def member_of(agent: Agent, topic: str, lease_id: int) -> Task | None:
    """The child whose live lease the agent holds, if the topic is that of its group."""
    task = agent.leases.get(lease_id)
    if task is None or not task.record.parent_id or topic != group_topic(task.record.parent_id):
        return None
    return task


def not_a_member(topic: str) -> Refusal:
    """Somebody wants to read or to publish where only children may."""
    return Refusal(
        reasons.NOT_A_MEMBER,
        f"the topic {topic!r} is for the children of that collaboration while they run: "
        "name the live lease_id of one",
        {"topic": topic},
    )


def _member(engine: Engine, parent_id: int, task_id: TaskId) -> Subscription | None:
    return engine.bus.group_topics[parent_id].subscriptions.get(member_name(task_id))
