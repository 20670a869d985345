"""AutoGen's gRPC runtime: a host, the runtime of an echo agent, and one that sends messages one by one."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from autogen_core import AgentId, MessageContext, RoutedAgent, rpc, try_get_known_serializers_for_type
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime, GrpcWorkerAgentRuntimeHost

from tests.bench.peers import brokers, load

LANES = 256
READY_S_MAX = 20.0


@dataclass
class Text:
    """The message."""

    text: str


async def host(address: str) -> None:
    """Be the host that all runtimes connect to."""
    runtime = GrpcWorkerAgentRuntimeHost(address=address)
    runtime.start()
    await runtime.stop_when_signal()


async def work(address: str) -> None:
    """Be the runtime of the agent."""

    class Echo(RoutedAgent):
        """The agent."""

        @rpc
        async def answer(self, message: Text, ctx: MessageContext) -> Text:
            """The call; the names of its parameters are AutoGen's."""
            return message

    runtime = GrpcWorkerAgentRuntime(host_address=address)
    await runtime.start()
    await Echo.register(runtime, "echo", lambda: Echo("echo"))
    await asyncio.Event().wait()


async def connected(address: str) -> Any:
    """A runtime that may send, once the agent answers."""
    runtime: Any = GrpcWorkerAgentRuntime(host_address=address)
    runtime.add_message_serializer(try_get_known_serializers_for_type(Text))
    await runtime.start()
    async with asyncio.timeout(READY_S_MAX):
        while True:
            try:
                async with asyncio.timeout(1):
                    await runtime.send_message(Text("first"), recipient=AgentId("echo", "default"))
            except Exception:  # Of any kind until the agent has been registered.
                await asyncio.sleep(0.1)
            else:
                return runtime


async def submit(given: load.Arguments, address: str, meter: load.Meter) -> None:
    """Load the agent, report."""
    runtime = await connected(address)
    recipient, payloads = AgentId("echo", "default"), load.texts()

    async def single(text: str) -> object:
        return (await runtime.send_message(Text(text), recipient=recipient)).text

    async def lane(window: load.Window) -> None:
        text = next(payloads)
        load.verify(await single(text), text)
        window.add(1)

    window = load.Window(given.plan, meter)
    await load.keep_full(lane, LANES, window)
    samples = await load.one_at_a_time_async(single, given.plan)
    await runtime.stop()
    facts = {
        "version": f"autogen-ext {version('autogen-ext')}, grpcio {version('grpcio')}",
        "broker": "its host, own process",
        "durability": "no",
        "worker": "1 process, 1 agent on uvloop",
        "outstanding": f"{LANES} messages",
    }
    load.report(window, samples, facts)


def main() -> None:
    """Be the host, the worker or, in a process of its own, the submitter that has started them."""
    given = load.arguments()
    if given.role != "submitter":
        load.run((host if given.role == "host" else work)(os.environ["HOST"]))
        return
    with brokers.Processes() as processes:
        port = brokers.free_port()
        address = f"127.0.0.1:{port}"
        server = processes.start_script(load.myself("autogen", given.peer, "host"), HOST=address)
        processes.wait_for(port, server)
        worker = processes.start_script(load.myself("autogen", given.peer, "worker"), HOST=address)
        load.run(submit(given, address, load.Meter(host=[server.pid], worker=[worker.pid])))


if __name__ == "__main__":
    main()
