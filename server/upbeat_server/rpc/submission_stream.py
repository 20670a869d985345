"""One StreamTasks call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat.v1 import task_service_pb2 as pb
from upbeat_server.engine.events import Submission
from upbeat_server.rpc.caller_stream import CallerStream, namespace_mismatch
from upbeat_server.rpc.faults import is_ascii
from upbeat_server.rpc.item_writer import write_accepted, write_finished
from upbeat_server.rpc.refusals import refusal_message
from upbeat_server.rpc.validate import REQUEST_ID_CHARS_MAX
from upbeat_server.runtime.refused import invalid
from upbeat_server.runtime.submissions import SubmissionStream

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import ClassVar

    from upbeat_server.rpc.method import Stream
    from upbeat_server.rpc.validate import SubmissionReader
    from upbeat_server.runtime.orchestrator import Orchestrator
    from upbeat_server.runtime.submissions import SubmissionParcel

REQUESTS_MAX = 1_000
ATTACH_MAX = 10_000


class SubmissionCall(CallerStream[SubmissionStream]):
    """One StreamTasks call."""

    kind: ClassVar[str] = "submissions"

    def __init__(self, orchestrator: Orchestrator, reader: SubmissionReader, stream: Stream) -> None:
        super().__init__(orchestrator, stream)
        self._reader = reader

    async def open(self) -> SubmissionStream:
        """The window of the submitter."""
        return await self.orchestrator.open_submission_stream(self.namespace)

    def close(self, opened: SubmissionStream) -> None:
        """The submitter is gone."""
        self.orchestrator.close_submission_stream(opened)

    async def take(self, frame: pb.StreamTasksRequest, opened: SubmissionStream) -> bool:
        """Acknowledge, submit, attach."""
        requests, attach, acks = frame.requests, frame.attach, frame.finished_acks
        if len(requests) > REQUESTS_MAX:
            raise invalid("requests", f"has {len(requests):,} entries; the limit is {REQUESTS_MAX:,}")
        if len(attach) > ATTACH_MAX:
            raise invalid("attach", f"has {len(attach):,} entries; the limit is {ATTACH_MAX:,}")
        if acks:
            opened.acknowledge(acks)
        if requests:
            await self._submit(requests, opened)
        if attach:
            self._attach(attach, opened)
        return bool(requests or acks or attach)

    async def next_answer(self, opened: SubmissionStream) -> bytes | None:
        """Acceptances, refusals, ends."""
        parcel = await opened.take()
        return None if parcel is None else write_parcel(parcel)

    async def _submit(self, requests: Iterable[pb.SubmitTaskRequest], submissions: SubmissionStream) -> None:
        read, namespace = self._reader.read, self.namespace
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
            await submissions.submit(taken, size, self.orchestrator.work_refusal)

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
