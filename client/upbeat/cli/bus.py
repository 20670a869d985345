"""``upbeat bus``: say something in a topic, listen to one, and look after what nobody acknowledged."""

from __future__ import annotations

import queue
import uuid
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from upbeat.cli.documents import document, dumps, payload_value
from upbeat.cli.failure import ExitCode, Failure
from upbeat.cli.formats import clock, count, local_time, shortened
from upbeat.cli.inputs import pairs, payload
from upbeat.cli.invocation import Invocation
from upbeat.cli.options import CommonOptions, grouped
from upbeat.cli.resuming import resumed
from upbeat.cli.screen import Screen
from upbeat.refusal import error_of_refusal
from upbeat.v1.bus_pb2 import BusDelivery, BusDeliveryAck, BusSubscribe, DeadLetter
from upbeat.v1.message_service_pb2 import (
    DropDeadLettersRequest,
    ListDeadLettersRequest,
    PublishRequest,
    RedeliverDeadLettersRequest,
    SubscribeRequest,
    SubscribeResponse,
)
from upbeat.v1.payload_pb2 import Payload

HEADS = ("ID", "TOPIC", "SUBSCRIBER", "PUBLISHER", "ATTEMPTS#", "DIED", "REASON", "MESSAGE")
_LEAST = ("PUBLISHER", "ATTEMPTS", "DIED", "SUBSCRIBER", "REASON", "TOPIC")
_PAGE_SIZE = 1_000

TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC", help="The topic.")]
TopicOption = Annotated[str, typer.Option("--topic", metavar="NAME", help="Only those of this topic.")]
SubscriberOption = Annotated[
    str, typer.Option("--subscriber", metavar="NAME", help="Only those of this subscriber.")
]
IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[ID...]", help="These; without any, all of --topic.")
]

app = typer.Typer(
    help="Publish and listen on the message bus.", no_args_is_help=True, rich_markup_mode="rich"
)


@app.command("publish")
@grouped
def publish(
    context: typer.Context,
    topic: TopicArgument,
    message: Annotated[
        str | None,
        typer.Argument(metavar="MESSAGE", help="Text or JSON, @FILE, or - for standard input."),
    ] = None,
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="Only for this subscriber.")] = "",
    message_id: Annotated[
        str, typer.Option("--message-id", metavar="ID", help="Makes it safe to repeat the command.")
    ] = "",
    header: Annotated[
        list[str] | None, typer.Option("--header", metavar="KEY=VALUE", help="Beside it; may repeat.")
    ] = None,
    publisher: Annotated[str, typer.Option("--as", metavar="NAME", help="Who says it.")] = "",
    *,
    common: CommonOptions,
) -> None:
    """Say something to everybody who reads a topic; prints its place in the topic, 0 if nobody does."""
    invocation = Invocation.of(context, common)
    connection, screen = invocation.connection, invocation.screen
    request = PublishRequest(
        namespace=invocation.namespace,
        topic=topic,
        payload=payload(message, None),
        message_id=message_id or uuid.uuid4().hex,
        to=to,
        headers=pairs(header, "--header"),
        publisher=publisher,
    )
    answer = connection.call_again(connection.messages.Publish, request)
    if screen.as_json:
        screen.document(answer)
        return
    screen.line(str(answer.sequence))
    if not answer.durable:
        screen.say("nobody is subscribed under a name: it is not kept", style="dim")


@app.command("subscribe")
@grouped
def subscribe(
    context: typer.Context,
    topic: TopicArgument,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Keeps messages for this name while you are away.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Leave after so many; 0: never.")] = 0,
    *,
    common: CommonOptions,
) -> None:
    """Print messages as they come, and acknowledge each. Without a name, those from now on.

    A restart of the server interrupts it; without a name, what is published in the meantime passes by.
    """
    invocation = Invocation.of(context, common)
    connection, screen = invocation.connection, invocation.screen
    outgoing: queue.SimpleQueue[SubscribeRequest | None] = queue.SimpleQueue()
    wanted = BusSubscribe(topic=topic, subscriber=name)

    def opened() -> Iterator[SubscribeResponse]:
        nonlocal outgoing
        outgoing.put(None)  # Whoever still sends for the last stream can go.
        outgoing = queue.SimpleQueue()
        outgoing.put(SubscribeRequest(namespace=invocation.namespace, subscribes=[wanted]))
        return connection.stream(connection.messages.Subscribe, iter(outgoing.get, None))

    heard = 0
    for frame in resumed(screen, opened):
        for answer in frame.subscribe_acks:
            if answer.HasField("refusal"):
                refused = error_of_refusal(answer.refusal)
                raise Failure(ExitCode.REFUSED, refused.message, reason=refused.reason)
            if screen.is_interactive and not screen.as_json:
                screen.say("messages follow, Ctrl-C ends", style="dim")
        for delivery in frame.deliveries:
            if limit and heard == limit:
                break  # It comes again, to whoever subscribes next.
            _show(screen, delivery)
            heard += 1
            ack = BusDeliveryAck(delivery_id=delivery.delivery_id)
            outgoing.put(SubscribeRequest(delivery_acks=[ack]))
            if heard == limit:
                outgoing.put(None)  # When the acknowledgement has been sent, the stream ends.


def _show(screen: Screen, delivery: BusDelivery) -> None:
    if screen.as_json:
        screen.event({"delivery": document(delivery)})
    else:
        again = "again" if delivery.redelivered else ""
        screen.line(clock(), delivery.publisher, _words(delivery.payload), again)


def _words(said: Payload) -> str:
    is_json, value = payload_value(said)
    if is_json:
        return shortened(dumps(value), 200)
    if said.content_type.startswith("text/"):
        return shortened(said.data.decode(errors="replace"), 200)
    return f"{len(said.data):,} bytes"


@app.command("dead-letters")
@grouped
def dead_letters(
    context: typer.Context,
    topic: TopicOption = "",
    subscriber: SubscriberOption = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="At most this many; 0 means all.")] = 100,
    *,
    common: CommonOptions,
) -> None:
    """List messages that a subscriber never acknowledged, oldest first."""
    invocation = Invocation.of(context, common)
    screen = invocation.screen
    request = ListDeadLettersRequest(
        namespace=invocation.namespace, topic=topic, subscriber=subscriber, page_size=limit or _PAGE_SIZE
    )
    letters: list[DeadLetter] = []
    for letter in _listed(invocation, request):
        letters.append(letter)
        if len(letters) == limit:
            break
    if screen.as_json:
        screen.document({"dead_letters": [document(letter) for letter in letters]})
    elif letters:
        screen.table(HEADS, (_row(letter) for letter in letters), least=_LEAST)
    else:
        screen.say("no dead letters", style="dim")


def _listed(invocation: Invocation, request: ListDeadLettersRequest) -> Iterator[DeadLetter]:
    connection = invocation.connection
    while True:
        page = connection.call(connection.messages.ListDeadLetters, request)
        yield from page.dead_letters
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _row(letter: DeadLetter) -> tuple[Any, ...]:
    return (
        letter.dead_letter_id,
        shortened(letter.topic, 40),
        shortened(letter.subscriber, 32),
        shortened(letter.publisher, 32),
        count(letter.delivery_attempts),
        local_time(letter.dead_time),
        letter.reason,
        _words(letter.payload),
    )


@app.command("drop")
@grouped
def drop(
    context: typer.Context,
    ids: IdsArgument = None,
    topic: TopicOption = "",
    subscriber: SubscriberOption = "",
    *,
    common: CommonOptions,
) -> None:
    """Forget dead letters for good."""
    invocation = Invocation.of(context, common)
    connection, screen = invocation.connection, invocation.screen
    request = DropDeadLettersRequest(
        namespace=invocation.namespace, dead_letter_ids=ids or (), topic=topic, subscriber=subscriber
    )
    answer = connection.call(connection.messages.DropDeadLetters, request)
    if screen.as_json:
        screen.document(answer)
    else:
        screen.line(f"{count(answer.dropped_count)} dropped")


@app.command("redeliver")
@grouped
def redeliver(
    context: typer.Context,
    ids: IdsArgument = None,
    topic: TopicOption = "",
    subscriber: SubscriberOption = "",
    *,
    common: CommonOptions,
) -> None:
    """Give dead letters to their subscribers again."""
    invocation = Invocation.of(context, common)
    connection, screen = invocation.connection, invocation.screen
    request = RedeliverDeadLettersRequest(
        namespace=invocation.namespace, dead_letter_ids=ids or (), topic=topic, subscriber=subscriber
    )
    answer = connection.call(connection.messages.RedeliverDeadLetters, request)
    if screen.as_json:
        screen.document(answer)
    else:
        screen.line(f"{count(answer.redelivered_count)} on their way again, {count(answer.kept_count)} kept")
