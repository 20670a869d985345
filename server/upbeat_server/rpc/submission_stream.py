"""One StreamTasks call: a reader, one writer, and a handler that waits for the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat.v1 import task_service_pb2 as pb
from upbeat_server.engine import reasons
from upbeat_server.engine.events import Submission
from upbeat_server.rpc.faults import is_ascii
from upbeat_server.rpc.item_writer import write_accepted, write_finished
from upbeat_server.rpc.pace import Pace
from upbeat_server.rpc.refusals import refusal_message
from upbeat_server.rpc.stream_life import StreamLife
from upbeat_server.rpc.validate import REQUEST_ID_CHARS_MAX
from upbeat_server.runtime.refused import Refused, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat_server.rpc.method import Stream
    from upbeat_server.rpc.validate import SubmissionReader
    from upbeat_server.runtime.orchestrator import Orchestrator
    from upbeat_server.runtime.submissions import SubmissionParcel, SubmissionStream

REQUESTS_MAX = 1_000
ATTACH_MAX = 10_000


class SubmissionCall:
    """One StreamTasks call."""

    def __init__(self, orchestrator: Orchestrator, reader: SubmissionReader, stream: Stream) -> None:
        self._orchestrator = orchestrator
        self._reader = reader
        self._stream = stream
        self._life = StreamLife()
        self._pace = Pace(orchestrator.bounds.streams.idle_frames_per_second)
        self._submissions: SubmissionStream | None = None
        self._namespace = ""

    async def run(self) -> None:
        """Live until the stream ends. Raises Refused with the reason, if there is one."""
        self._life.start(self._read())
        try:
            refusal = await self._life.closed
        finally:
            if self._submissions is not None:
                self._orchestrator.close_submission_stream(self._submissions)
            self._life.cancel()
        if refusal is not None:
            self._orchestrator.observer.stream_ended("submissions", refusal.reason)
            raise Refused(refusal)

    async def _read(self) -> None:
        frame: pb.StreamTasksRequest | None = await self._stream.read()
        if frame is None:
            self._life.end(None)
            return
        self._namespace = self._stream.namespace(frame.namespace)
        submissions = await self._orchestrator.open_submission_stream(self._namespace)
        self._submissions = submissions
        self._life.end_with(submissions.closed)
        self._life.start(self._write(submissions))
        while frame is not None:
            await self._take(frame, submissions)
            frame = await self._stream.read()
        submissions.peer_ended()

    async def _take(self, frame: pb.StreamTasksRequest, submissions: SubmissionStream) -> None:
        if frame.namespace and frame.namespace != self._namespace:
            raise namespace_mismatch("namespace", self._namespace)
        requests, attach, acks = frame.requests, frame.attach, frame.finished_acks
        if len(requests) > REQUESTS_MAX:
            raise invalid("requests", f"has {len(requests):,} entries; the limit is {REQUESTS_MAX:,}")
        if len(attach) > ATTACH_MAX:
            raise invalid("attach", f"has {len(attach):,} entries; the limit is {ATTACH_MAX:,}")
        if acks:
            submissions.acknowledge(acks)
        if requests:
            await self._submit(requests, submissions)
        if attach:
            self._attach(attach, submissions)
        if not (requests or acks or attach):
            await self._pace.keep()

    async def _submit(self, requests: Iterable[pb.SubmitTaskRequest], submissions: SubmissionStream) -> None:
        read, namespace = self._reader.read, self._namespace
        taken: list[Submission] = []
        size = 0
        for request in requests:
            if request.namespace and request.namespace != namespace:
                submissions.refuse(
                    request.request_id[:REQUEST_ID_CHARS_MAX],
                    namespace_mismatch("namespace", namespace).refusal,
                )
                continue
            answer = read(request, needs_request_id=True)
            if isinstance(answer, Submission):
                taken.append(answer)
                size += len(answer.spec_bytes)
            else:
                submissions.refuse(request.request_id[:REQUEST_ID_CHARS_MAX], answer)
        if taken:
            await submissions.submit(taken, size, self._orchestrator.work_refusal)

    def _attach(self, request_ids: Iterable[str], submissions: SubmissionStream) -> None:
        wanted: list[str] = []
        for number, request_id in enumerate(request_ids):
            if is_ascii(request_id, REQUEST_ID_CHARS_MAX):
                wanted.append(request_id)
            else:
                words = f"must be at most {REQUEST_ID_CHARS_MAX} printable ASCII characters"
                submissions.refuse(
                    request_id[:REQUEST_ID_CHARS_MAX], invalid(f"attach[{number}]", words).refusal
                )
        submissions.attach(wanted)

    async def _write(self, submissions: SubmissionStream) -> None:
        while (parcel := await submissions.take()) is not None:
            await self._stream.write(write_parcel(parcel))
        self._life.end(None)


def write_parcel(parcel: SubmissionParcel) -> bytes:
    """One frame to a submitter."""
    parts: list[bytes] = []
    if parcel.window or parcel.refused:
        message = pb.StreamTasksResponse(window=parcel.window)
        for request_id, refusal in parcel.refused:
            message.refused.add(request_id=request_id, error=refusal_message(refusal))
        parts.append(message.SerializeToString())
    write_accepted(parcel.accepted, parts)
    write_finished(parcel.finished, parts)
    return b"".join(parts)


def namespace_mismatch(field: str, namespace: str) -> Refused:
    """An inner namespace differs from the outer one."""
    return invalid(
        field, f"must be empty or {namespace!r}, which the whole call is for", reasons.NAMESPACE_MISMATCH
    )
