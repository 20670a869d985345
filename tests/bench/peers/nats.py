"""NATS. Core: requests to a queue group. JetStream: a work-queue stream in files, pulled and acknowledged.

A worker of JetStream answers on the subject that the task names, then acknowledges; the result is not stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from importlib.metadata import version
from itertools import count
from typing import TYPE_CHECKING, Any

import nats
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NothingCame

from tests.bench.peers import brokers, load

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LANES = 1_024
# Larger batches are faster, but one of 1,024, which is more than the default limit of 1,000 unacknowledged
# messages, fell to a tenth or less; so did two or four pulls at once.
BATCH = 512
ANSWER_S_MAX = 30.0
DURABILITY = {
    "nats_core": "no",
    "nats_jetstream": "written to files, fsync every 2 minutes, results not stored",
}


async def serve_core(client: Any) -> None:
    """Answer requests for ever."""

    async def echo(message: Any) -> None:
        await message.respond(message.data)

    await client.subscribe("task", queue="workers", cb=echo)
    await asyncio.Event().wait()


async def serve_jetstream(client: Any) -> None:
    """Pull tasks in batches for ever, answer and acknowledge them."""
    pulled = await client.jetstream().pull_subscribe("task.>", durable="workers", stream="TASKS")

    async def echo(message: Any) -> None:
        await client.publish(message.headers["Reply-To"], message.data)
        await message.ack()

    while True:
        with contextlib.suppress(NothingCame):
            messages = await pulled.fetch(BATCH, timeout=1)
            await asyncio.gather(*map(echo, messages))


async def make_stream(client: Any) -> None:
    """The stream of tasks; each is removed once it is acknowledged."""
    from nats.js.api import RetentionPolicy, StorageType

    await client.jetstream().add_stream(
        name="TASKS", subjects=["task.>"], retention=RetentionPolicy.WORK_QUEUE, storage=StorageType.FILE
    )


async def jetstream_echo(client: Any) -> Callable[[str], Awaitable[str]]:
    """A call that publishes a task, acknowledged by the server, and waits for the worker's answer."""
    waiting: dict[str, asyncio.Future[bytes]] = {}
    inbox, numbers, stream = client.new_inbox(), count(), client.jetstream()

    async def answered(message: Any) -> None:
        waiting.pop(message.subject).set_result(message.data)

    await client.subscribe(f"{inbox}.*", cb=answered)

    async def echo(text: str) -> str:
        subject = f"{inbox}.{next(numbers)}"
        answer = waiting[subject] = asyncio.get_running_loop().create_future()
        await stream.publish("task.echo", text.encode(), timeout=ANSWER_S_MAX, headers={"Reply-To": subject})
        return str((await answer).decode())

    return echo


async def core_echo(client: Any) -> Callable[[str], Awaitable[str]]:
    """A call that is one request; it waits until the worker has subscribed."""

    async def echo(text: str) -> str:
        answer = await client.request("task", text.encode(), timeout=ANSWER_S_MAX)
        return str(answer.data.decode())

    for _ in range(500):
        try:
            await echo("")
            break
        except NoRespondersError:
            await asyncio.sleep(0.02)
    return echo


async def submit(given: load.Arguments, broker: brokers.Broker, processes: brokers.Processes) -> None:
    """Start the worker, load it, report."""
    client: Any = await nats.connect(broker.url)
    if given.peer == "nats_jetstream":
        await make_stream(client)
    worker = processes.start_script(load.myself("nats", given.peer, "worker"), BROKER=broker.url)
    echo = await (jetstream_echo if given.peer == "nats_jetstream" else core_echo)(client)
    load.verify(await echo("first"), "first")
    window = load.Window(given.plan, load.Meter(broker=[broker.pid], worker=[worker.pid]))
    payloads = load.texts()

    async def lane(window: load.Window) -> None:
        text = next(payloads)
        load.verify(await echo(text), text)
        window.add(1)

    await load.keep_full(lane, LANES, window)
    samples = await load.one_at_a_time_async(echo, given.plan)
    await client.close()
    facts = {
        "version": f"nats-py {version('nats-py')}",
        "broker": broker.words,
        "durability": DURABILITY[given.peer],
        "worker": "1 process on uvloop"
        + (f", batches of {BATCH}" if given.peer == "nats_jetstream" else ", a queue group"),
        "outstanding": f"{LANES} requests",
    }
    load.report(window, samples, facts)


async def work(peer: str) -> None:
    """Be the worker."""
    client: Any = await nats.connect(os.environ["BROKER"])
    await (serve_jetstream if peer == "nats_jetstream" else serve_core)(client)


def main() -> None:
    """Be the worker or, in a process of its own, the submitter that has started it."""
    given = load.arguments()
    if given.role == "worker":
        load.run(work(given.peer))
        return
    with brokers.Processes() as processes:
        broker = brokers.nats(processes, jetstream=given.peer == "nats_jetstream")
        load.run(submit(given, broker, processes))


if __name__ == "__main__":
    main()
