"""One WatchTasks call: a snapshot, then every change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from upbeat.v1 import task_service_pb2 as pb
from upbeat_server.engine.model import FINISHED, TaskId
from upbeat_server.rpc.convert import BASIC
from upbeat_server.rpc.filter import read_filter
from upbeat_server.rpc.ids import read_task_id, task_text
from upbeat_server.runtime.refused import Refused, invalid
from upbeat_server.runtime.snapshot import TaskSnapshot
from upbeat_server.runtime.watchers import Left, Progress
from upbeat_server.store.store import TaskQuery

if TYPE_CHECKING:
    from upbeat_server.rpc.convert import TaskWriter
    from upbeat_server.rpc.method import Stream
    from upbeat_server.runtime.orchestrator import Orchestrator
    from upbeat_server.runtime.watchers import TaskWatch, WatchEvent

FRAME_EVENTS_MAX = 256
FRAME_BYTES_MAX = 1 << 20
PAGE = 200
SILENT_REVISIONS_MAX = 1_000
"""A watch that nothing concerns is told how far it is after this many revisions."""


class TaskWatchCall:
    """One WatchTasks call."""

    def __init__(
        self,
        orchestrator: Orchestrator,
        writer: TaskWriter,
        request: pb.WatchTasksRequest,
        stream: Stream,
    ) -> None:
        self._orchestrator = orchestrator
        self._writer = writer
        self._request = request
        self._stream = stream
        self._namespace = stream.namespace(request.namespace)
        self._view = request.view or BASIC
        self._query: TaskQuery | None = None
        self._task_id: TaskId | None = None
        match request.WhichOneof("target"):
            case "task_id":
                self._task_id = read_task_id(request.task_id)
            case "parent_task_id":
                self._query = TaskQuery(parent_id=read_task_id(request.parent_task_id, "parent_task_id"))
            case "filter":
                self._query = read_filter(request.filter)
        if request.revision < 0:
            raise invalid("revision", "is negative; 0 means a snapshot")

    async def run(self) -> None:
        """Send until the watched task ends, the caller leaves or the watch is ended."""
        request = self._request
        watch = await self._orchestrator.watch_tasks(
            self._namespace, self._query, self._task_id, request.progress, request.revision
        )
        try:
            if not request.revision:
                if self._task_id is None:
                    await self._send_snapshot(watch)
                else:
                    await self._send_task(watch, self._task_id)
            elif self._task_id is not None:
                await self._look_for_end(watch, self._task_id)
            await self._send_changes(watch)
        except Refused as error:
            self._orchestrator.observer.stream_ended("watch", error.refusal.reason)
            raise
        finally:
            watch.close()

    async def _send_task(self, watch: TaskWatch, task_id: TaskId) -> None:
        snapshot = await self._orchestrator.get(self._namespace, task_id)
        # A change that was committed since the watch began is in the snapshot already.
        watch.revision = max(watch.revision, snapshot.record.revision)
        if snapshot.record.state in FINISHED:
            watch.finish()
        response = pb.WatchTasksResponse(revision=watch.revision, snapshot_done=True)
        self._writer.fill(response.events.add().task, snapshot, self._namespace, self._view)
        await self._stream.write(response)

    async def _look_for_end(self, watch: TaskWatch, task_id: TaskId) -> None:
        """A task that ended before the revision that is resumed from sends nothing any more."""
        snapshot = await self._orchestrator.get(self._namespace, task_id)
        if snapshot.record.state in FINISHED and snapshot.record.revision <= self._request.revision:
            watch.finish()

    async def _send_snapshot(self, watch: TaskWatch) -> None:
        """Every task that matches, as it was when the watch began or not at all: what changed
        since comes as a change.
        """
        began = watch.revision
        query = self._query or TaskQuery()
        after_id = 0
        while True:
            part = msgspec.structs.replace(query, after_id=after_id)
            page = await self._orchestrator.list_tasks(self._namespace, part, PAGE)
            response = pb.WatchTasksResponse()
            size = 0
            for snapshot in page:
                record = snapshot.record
                after_id = record.task_id
                if record.revision > began:
                    continue
                event = response.events.add()
                self._writer.fill(event.task, snapshot, self._namespace, self._view)
                size += event.ByteSize()
                if size > FRAME_BYTES_MAX:
                    break  # The next page begins behind this one.
            if not page:
                response.revision = began
                response.snapshot_done = True
            if response.events or not page:
                await self._stream.write(response)
            if not page:
                return

    async def _send_changes(self, watch: TaskWatch) -> None:
        told = watch.revision
        while (events := await watch.take(FRAME_EVENTS_MAX, FRAME_BYTES_MAX)) is not None:
            if not events and watch.revision - told < SILENT_REVISIONS_MAX:
                continue
            response = pb.WatchTasksResponse(revision=watch.revision)
            for event in events:
                self._add(response, event)
            told = watch.revision
            await self._stream.write(response)

    def _add(self, response: pb.WatchTasksResponse, event: WatchEvent) -> None:
        added = response.events.add()
        if isinstance(event, TaskSnapshot):
            self._writer.fill(added.task, event, self._namespace, self._view)
        elif isinstance(event, Left):
            added.left = task_text(event.task_id)
        elif isinstance(event, Progress):
            progress = added.progress
            progress.task_id = task_text(event.task_id)
            progress.attempt = event.attempt
            progress.fraction = event.fraction
            progress.message = event.message
            progress.chunk = event.chunk
            progress.sequence = event.sequence
