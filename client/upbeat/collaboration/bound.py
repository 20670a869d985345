"""A collaboration with the client that runs it: what `up.sequence(...)` answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from upbeat.skill import In, Kind, Out

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Iterable

    from upbeat.client import Client
    from upbeat.collaboration.items import PipelineItem
    from upbeat.collaboration.parallel import Parallel
    from upbeat.collaboration.pipeline import Pipeline
    from upbeat.handle import TaskHandle
    from upbeat.spec import Seconds, WholeOptions
    from upbeat.v1 import payload_pb2, task_spec_pb2


class Bound(Kind[In, Out]):
    """A kind of work and a client. It can be a step of another as well."""

    def __init__(self, client: Client, kind: Kind[In, Out]) -> None:
        self.name = kind.name
        self.kind = kind
        self._client = client

    def __repr__(self) -> str:
        return f"up.{self.kind!r}"

    def spec(self) -> task_spec_pb2.TaskSpec:
        """The spec of a task of this kind, but for its input and its options."""
        return self.kind.spec()

    def encode_input(self, value: In) -> payload_pb2.Payload:
        """The payload for a task; raises CodecError."""
        return self.kind.encode_input(value)

    def decode_output(self, payload: payload_pb2.Payload) -> Out:
        """What the caller is given; raises CodecError."""
        return self.kind.decode_output(payload)

    async def run(
        self,
        value: In,
        *,
        timeout: Seconds | None = None,  # noqa: ASYNC109 - it bounds the task
        request_id: str = "",
        **options: Unpack[WholeOptions],
    ) -> Out:
        """Submit it and wait for its output, as `Client.run` does."""
        return await self._client.run(self.kind, value, timeout=timeout, request_id=request_id, **options)

    async def submit(
        self,
        value: In,
        *,
        timeout: Seconds | None = None,  # noqa: ASYNC109 - it bounds the task
        request_id: str = "",
        **options: Unpack[WholeOptions],
    ) -> TaskHandle[Out]:
        """Submit it, as `Client.submit` does."""
        return await self._client.submit(self.kind, value, timeout=timeout, request_id=request_id, **options)


class BoundParallel(Bound[In, Out]):
    """A parallel with a client."""

    def __init__(self, client: Client, kind: Parallel[In, Out]) -> None:
        super().__init__(client, kind)
        self._parallel = kind

    async def map(
        self,
        items: Iterable[In],
        *,
        timeout: Seconds | None = None,  # noqa: ASYNC109 - it bounds the task
        request_id: str = "",
        **options: Unpack[WholeOptions],
    ) -> Out:
        """Run the one step for each item, as children of one task; answers when all have ended.

        The outputs are in the order of the items, of which there are at most
        10,000. `Client.map` is for more, and for their ends one by one. Raises
        ValueError for several steps, else what `Client.run` raises.
        """
        return await self._client.run(
            self._parallel.over(items), None, timeout=timeout, request_id=request_id, **options
        )


class BoundPipeline(Bound[In, Out]):
    """A pipeline with a client."""

    def __init__(self, client: Client, kind: Pipeline[In, Out]) -> None:
        super().__init__(client, kind)
        self._pipeline = kind

    def map(
        self,
        items: Iterable[In] | AsyncIterable[In],
        *,
        timeout: Seconds | None = None,
        request_id: str = "",
        **options: Unpack[WholeOptions],
    ) -> AsyncGenerator[PipelineItem[Out], None]:
        """Any number of items through one pipeline, each handed back as it leaves the last stage.

        Items are drawn as the pipeline takes them, so that an endless source is
        fine. Each item says its `index`; they come in the order in which they
        leave. Those that were given up (on_item_failure="dead_letter") come last,
        their `output` raises. Leaving the loop early cancels the pipeline. Raises
        what the source raises, StepFailed and what `Client.submit` raises.
        """
        from upbeat.collaboration.items import ItemFlow

        full: dict[str, Any] = {**options, "timeout": timeout, "request_id": request_id}
        return ItemFlow(self._client, self._pipeline, items).run(full)
