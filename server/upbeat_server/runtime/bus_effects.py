"""The orders of the message bus, performed after the commit that contains them.

An order goes to an outlet: the session of an agent, or minus the origin of a call or
stream. One that is gone is about to be told to the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from upbeat_server.engine import commands
from upbeat_server.runtime.calls import PublishCall, RuleCall
from upbeat_server.runtime.subscriptions import SubscriptionStream

if TYPE_CHECKING:
    from upbeat_server.runtime.effects import Scene


def ack_publish(scene: Scene, order: commands.AckPublish) -> None:
    """A message is in its topic, or was refused."""
    if order.outlet > 0:
        session = scene.session_for_work(order.outlet)
        if session is not None:
            session.outbox.mail.acknowledge(order)
            session.outbox.stir()
        return
    call = scene.namespace.routes.get(-order.outlet)
    if isinstance(call, PublishCall):
        if order.refusal is not None:
            call.fail(order.refusal)
        else:
            call.resolve(order)


def answer_subscribe(scene: Scene, order: commands.AnswerSubscribe) -> None:
    """A subscription is in effect, refused or over."""
    if order.outlet > 0:
        session = scene.session_for_work(order.outlet)
        if session is not None:
            session.outbox.mail.answer(order)
            session.outbox.stir()
        return
    stream = scene.namespace.routes.get(-order.outlet)
    if isinstance(stream, SubscriptionStream):
        stream.mail.answer(order)
        stream.added()


def deliver(scene: Scene, order: commands.Deliver) -> None:
    """A message goes to a subscriber."""
    if order.outlet > 0:
        session = scene.namespace.sessions.get(order.outlet)
        if session is not None:
            session.outbox.mail.deliver(order)
            session.outbox.stir()
        return
    stream = scene.namespace.routes.get(-order.outlet)
    if isinstance(stream, SubscriptionStream):
        stream.mail.deliver(order)
        stream.added()


def dead_letters_answered(scene: Scene, order: commands.DeadLettersAnswered) -> None:
    """Dead letters were dropped, or are on their way again."""
    call = scene.namespace.routes.get(order.origin)
    if isinstance(call, RuleCall):
        call.resolve(order)


Effect: TypeAlias = Callable[["Scene", Any], None]

BUS_EFFECTS: dict[type, Effect] = {
    commands.AckPublish: ack_publish,
    commands.AnswerSubscribe: answer_subscribe,
    commands.Deliver: deliver,
    commands.DeadLettersAnswered: dead_letters_answered,
}
