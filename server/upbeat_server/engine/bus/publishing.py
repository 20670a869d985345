"""Publishing: who may, whether it is a repeat, whether the topic has room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.bus import groups, subscribing
from upbeat_server.engine.bus.message import GROUP_PREFIX, Message, Source, member_name
from upbeat_server.engine.commands import AckPublish
from upbeat_server.engine.model import Refusal

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.bus.message import Publish
    from upbeat_server.engine.bus.topic import Topic
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.events import MessagePublished

RETRY_FULL_MS = 250


def publish(engine: Engine, event: MessagePublished, now_ms: int) -> None:
    """A party that is no agent publishes."""
    wanted = event.publish
    if wanted.topic.startswith(GROUP_PREFIX):
        _answer(engine, -event.origin, wanted, groups.not_a_member(wanted.topic))
        return
    _publish(engine, -event.origin, wanted, (Source.CALLER, event.publisher), now_ms)


def publish_from_agent(engine: Engine, agent: Agent, wanted: Publish, now_ms: int) -> None:
    """An agent publishes: in the name of a child in the topic of a group, else in its own."""
    publisher = Source.AGENT, agent.agent_id
    if wanted.topic.startswith(GROUP_PREFIX):
        task = groups.member_of(agent, wanted.topic, wanted.lease_id)
        if task is not None:
            groups.assemble(engine, task)
        if task is None or wanted.topic not in engine.bus.topics:
            _answer(engine, agent.session_id, wanted, groups.not_a_member(wanted.topic))
            return
        publisher = Source.MEMBER, member_name(task.task_id)
    _publish(engine, agent.session_id, wanted, publisher, now_ms)


def _publish(
    engine: Engine, outlet: int, wanted: Publish, publisher: tuple[Source, str], now_ms: int
) -> None:
    topic = engine.bus.topics.get(wanted.topic)
    source, name = publisher
    wanted.message_id = wanted.message_id or f"{engine.next_id():016x}"
    message = Message(name, wanted.message_id, now_ms, int(source), wanted.payload, wanted.to, wanted.headers)
    known = topic.ids.get(message.key) if topic is not None else None
    if known is not None:
        _acknowledge(engine, outlet, wanted, *known)
        return
    refusal = _refusal(engine, topic, message, wanted.topic)
    if refusal is not None:
        _answer(engine, outlet, wanted, refusal)
        return
    engine.counters.published += 1
    if topic is None:
        _acknowledge(engine, outlet, wanted, 0, is_durable=False)
        return
    wanting = [sub for sub in topic.subscriptions.values() if sub.wants(message)]
    kept = engine.bus.keep(engine, topic, message, wanting)
    engine.bus.shelf.remember(engine, topic, kept)
    _acknowledge(engine, outlet, wanted, kept.sequence, kept.is_stored)
    for subscription in wanting:
        subscribing.keep_or_end(engine, subscription)


def _refusal(engine: Engine, topic: Topic | None, message: Message, name: str) -> Refusal | None:
    if message.to and (topic is None or message.to not in topic.subscriptions):
        return Refusal(
            reasons.SUBSCRIBER_NOT_FOUND,
            f"the topic {name!r} has no subscriber {message.to!r}: leave `to` empty for all, or wait for it",
            {"topic": name, "subscriber": message.to},
        )
    if topic is None or not topic.has_durable or engine.bus.shelf.make_room(engine, topic, message.size):
        return None
    return full(engine, topic, message.size)


def full(engine: Engine, topic: Topic, size: int) -> Refusal:
    """The topic, or the namespace, has no room for a message of this size."""
    bounds = engine.limits.bus
    if topic.stored >= bounds.topic_messages_max:
        bound, limit, what = "topic_messages_max", bounds.topic_messages_max, "messages"
    elif topic.stored and topic.size + size > bounds.topic_bytes_max:
        bound, limit, what = "topic_bytes_max", bounds.topic_bytes_max, "bytes"
    else:
        bound, limit, what = "messages_bytes_max", bounds.messages_bytes_max, "bytes over all topics"
    return Refusal(
        reasons.TOPIC_FULL,
        f"the topic {topic.name!r} holds messages up to its limit of {limit:,} {what} ({bound}): "
        "try again when its subscribers have acknowledged some",
        {"topic": topic.name, "bound": bound, "limit": str(limit)},
        retry_ms=RETRY_FULL_MS,
    )


def _acknowledge(engine: Engine, outlet: int, wanted: Publish, sequence: int, is_durable: bool) -> None:
    engine.commands.append(
        AckPublish(outlet, wanted.topic, wanted.message_id, wanted.lease_id, sequence, is_durable)
    )


def _answer(engine: Engine, outlet: int, wanted: Publish, refusal: Refusal) -> None:
    engine.commands.append(
        AckPublish(outlet, wanted.topic, wanted.message_id, wanted.lease_id, 0, False, refusal)
    )
