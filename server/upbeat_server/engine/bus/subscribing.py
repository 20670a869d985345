"""Subscribing: names and streams come and go, and a newer stream takes over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.bus import groups
from upbeat_server.engine.bus.message import GROUP_PREFIX, Source, SubscribeAction, member_name
from upbeat_server.engine.bus.subscription import NO_OUTLET, Subscription
from upbeat_server.engine.commands import AnswerSubscribe
from upbeat_server.engine.model import Refusal

if TYPE_CHECKING:
    from upbeat_server.engine.agent import Agent
    from upbeat_server.engine.bus.message import Subscribe
    from upbeat_server.engine.engine import Engine
    from upbeat_server.engine.events import StreamSubscribed

RETRY_SUBSCRIBERS_MS = 5_000


def subscribe(engine: Engine, event: StreamSubscribed) -> None:
    """A stream of a party that is no agent begins or ends subscriptions."""
    for wanted in event.subscribes:
        if wanted.topic.startswith(GROUP_PREFIX):
            _answer(engine, -event.origin, wanted, groups.not_a_member(wanted.topic))
        else:
            _subscribe(engine, -event.origin, wanted, (Source.CALLER, wanted.subscriber))


def subscribe_agent(engine: Engine, agent: Agent, wanted: Subscribe) -> None:
    """An agent begins or ends a subscription: of a child in the topic of a group, else its own."""
    if not wanted.topic.startswith(GROUP_PREFIX):
        wanted.subscriber = wanted.subscriber or agent.agent_id
        _subscribe(engine, agent.session_id, wanted, (Source.AGENT, agent.agent_id))
        return
    task = groups.member_of(agent, wanted.topic, wanted.lease_id)
    if task is not None:
        groups.assemble(engine, task)
        wanted.subscriber = member_name(task.task_id)
    topic = engine.bus.topics.get(wanted.topic)
    member = topic.subscriptions.get(wanted.subscriber) if topic is not None and task is not None else None
    if member is None:
        _answer(engine, agent.session_id, wanted, groups.not_a_member(wanted.topic))
    elif wanted.action == SubscribeAction.SUBSCRIBE:
        if member.lease_id != wanted.lease_id:
            engine.bus.detach(engine, member)
        _take_over(engine, member, agent.session_id, wanted)
        member.lease_id = wanted.lease_id
    else:  # A child stays subscribed as long as it lives.
        engine.bus.detach(engine, member)
        _answer(engine, agent.session_id, wanted)


def outlet_left(engine: Engine, outlet: int) -> None:
    """A stream is gone. Names stay subscribed; what has no name ends with it."""
    stream = engine.bus.outlets.get(outlet)
    for subscription in list(stream.subscriptions.values()) if stream is not None else ():
        if subscription.is_durable:
            engine.bus.detach(engine, subscription)
        else:
            engine.bus.forget(engine, subscription)


def keep_or_end(engine: Engine, subscription: Subscription) -> None:
    """End a subscription without a name that is too far behind: it holds no publisher up."""
    bounds = engine.limits.bus
    if subscription.is_durable or (
        len(subscription.wanted) <= bounds.topic_messages_max
        and subscription.wanted_bytes <= bounds.topic_bytes_max
    ):
        return
    words = "too many messages wait for this subscription: acknowledge faster, or subscribe under a name"
    _end(engine, subscription, Refusal(reasons.SLOW_READER, words, {"topic": subscription.topic.name}))
    engine.bus.forget(engine, subscription)


def _subscribe(engine: Engine, outlet: int, wanted: Subscribe, reader: tuple[Source, str]) -> None:
    bus = engine.bus
    subscription = _find(engine, outlet, wanted)
    if wanted.action != SubscribeAction.SUBSCRIBE:
        if subscription is not None:
            _let_go(engine, subscription, outlet, wanted)
        _answer(engine, outlet, wanted)
        return
    if subscription is None:
        refusal = _refusal(engine, wanted)
        if refusal is not None:
            _answer(engine, outlet, wanted, refusal)
            return
        topic = bus.open_topic(wanted.topic)
        source, owner = reader
        subscription = Subscription(engine.next_id(), topic, wanted.subscriber, int(source), owner)
        bus.enter(subscription)
    _take_over(engine, subscription, outlet, wanted)


def _let_go(engine: Engine, subscription: Subscription, outlet: int, wanted: Subscribe) -> None:
    """Leave a stream that is one's own, or forget a name whoever reads under it."""
    if wanted.action == SubscribeAction.FORGET or not subscription.is_durable:
        if subscription.outlet not in (outlet, NO_OUTLET):
            _fence(engine, subscription)
        engine.bus.forget(engine, subscription)
    elif subscription.outlet == outlet:
        engine.bus.detach(engine, subscription)


def _find(engine: Engine, outlet: int, wanted: Subscribe) -> Subscription | None:
    """The subscription of that name, or of that stream where it has none."""
    topic = engine.bus.topics.get(wanted.topic)
    if topic is None:
        return None
    if wanted.subscriber:
        return topic.subscriptions.get(wanted.subscriber)
    stream = engine.bus.outlets.get(outlet)
    if stream is None:
        return None
    of_stream = stream.subscriptions.values()
    return next((sub for sub in of_stream if sub.topic is topic and not sub.is_durable), None)


def _take_over(engine: Engine, subscription: Subscription, outlet: int, wanted: Subscribe) -> None:
    """Deliver to this stream; one that had it before is told. The same stream changes nothing."""
    if subscription.outlet != outlet:
        if subscription.outlet != NO_OUTLET:
            _fence(engine, subscription)
            engine.bus.detach(engine, subscription)
        engine.bus.attach(subscription, outlet)
    _answer(engine, outlet, wanted)


def _fence(engine: Engine, subscription: Subscription) -> None:
    topic, name = subscription.topic.name, subscription.name
    words = f"a newer stream took the subscription {name!r} to {topic!r} over, or it was forgotten"
    _end(engine, subscription, Refusal(reasons.FENCED, words, {"topic": topic, "subscriber": name}))


def _end(engine: Engine, subscription: Subscription, refusal: Refusal) -> None:
    """Tell the stream of a subscription that it is over."""
    topic, name = subscription.topic.name, subscription.name
    engine.commands.append(AnswerSubscribe(subscription.outlet, topic, name, subscription.lease_id, refusal))


def _refusal(engine: Engine, wanted: Subscribe) -> Refusal | None:
    bus, bounds = engine.bus, engine.limits.bus
    topic = bus.topics.get(wanted.topic)
    if topic is None and bus.ordinary >= bounds.topics_max:
        return _exhausted(reasons.TOPICS_EXHAUSTED, "topics_max", bounds.topics_max, "topics in use")
    if topic is not None and len(topic.subscriptions) >= bounds.topic_subscribers_max:
        limit, what = bounds.topic_subscribers_max, f"subscribers of {topic.name!r}"
        return _exhausted(reasons.SUBSCRIBERS_EXHAUSTED, "topic_subscribers_max", limit, what)
    if len(bus.subscriptions) - bus.members >= bounds.subscribers_max:
        limit = bounds.subscribers_max
        return _exhausted(reasons.SUBSCRIBERS_EXHAUSTED, "subscribers_max", limit, "subscribers")
    return None


def _exhausted(reason: str, bound: str, limit: int, what: str) -> Refusal:
    return Refusal(
        reason,
        f"the namespace has {limit:,} {what}, which is its limit ({bound}): "
        "forget names that nobody uses any more, or try again later",
        {"bound": bound, "limit": str(limit)},
        retry_ms=RETRY_SUBSCRIBERS_MS,
    )


def _answer(engine: Engine, outlet: int, wanted: Subscribe, refusal: Refusal | None = None) -> None:
    engine.commands.append(AnswerSubscribe(outlet, wanted.topic, wanted.subscriber, wanted.lease_id, refusal))
