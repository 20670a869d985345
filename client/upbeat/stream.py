"""All submissions of a client over one StreamTasks.

Submissions wait here until the window that the server grants has room, travel
many to a frame, and are settled by `finished`, which is acknowledged at once.
After a broken stream, those not yet accepted are sent again with the same
request_id, and accepted ones are attached, so that nothing is done twice and no
end is missed. Submissions whose caller only wants the task to exist need not
wait for the window: they overflow to BatchSubmitTasks, and are attached when
somebody asks for their result. Runs on the I/O thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from upbeat.backoff import Backoff, Patience
from upbeat.batch import BatchSubmitter
from upbeat.connection import LASTED_S, is_worth_reopening
from upbeat.duplex import Duplex, End
from upbeat.errors import ClientClosed, InternalError, Refused, ResourceExhausted, Unavailable, UpbeatError
from upbeat.refusal import error_of_refusal
from upbeat.v1 import task_service_pb2

if TYPE_CHECKING:
    from upbeat.connection import Connection
    from upbeat.submission import Submission

FRAME_ITEMS_MAX = 256
FRAME_BYTES_MAX = 1 << 20
FRAME_IDS_MAX = 5_000


class TaskStream:
    """The multiplexer; create it on the I/O thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._batch = BatchSubmitter(connection)
        self._by_request: dict[str, Submission] = {}
        self._waiting: deque[Submission] = deque()
        self._attaching: deque[str] = deque()
        self._acks: deque[str] = deque()
        self._holding: set[str] = set()  # What takes room in the window of this stream.
        self._stream_number = 0
        self._window: int | None = None
        self._is_greeted = False
        self._duplex: Duplex | None = None
        self._runner: asyncio.Task[None] | None = None
        self._patience = Patience(connection.patience_s)
        self._backoff = Backoff()  # For items that are refused on a stream that works.

    # What the client asks for.

    def add(self, submission: Submission) -> None:
        """Send it as soon as there is room; watch the submission for what comes of it."""
        if self._connection.is_closed:
            submission.fail(ClientClosed("the client is closed"))
            return
        if submission.request_id in self._by_request:
            # The same request twice: the server says whether it is the same task.
            submission.when_accepted(lambda: self.attach(submission))
            self._batch.add(submission)
            return
        self._by_request[submission.request_id] = submission
        self._waiting.append(submission)
        self._start()

    def attach(self, submission: Submission) -> None:
        """Have the end of an accepted submission told, if it is not anyway."""
        other = self._by_request.get(submission.request_id)
        if submission.is_settled or other is submission:
            return
        if other is not None:
            other.when_settled(lambda: submission.settle_as(other))
            return
        if self._connection.is_closed:
            submission.fail(ClientClosed("the client is closed"))
            return
        self._by_request[submission.request_id] = submission
        self._attaching.append(submission.request_id)
        self._start()

    def withdraw(self, submission: Submission) -> bool:
        """Forget it if it was never sent; False if the server may know it."""
        if submission in self._waiting:
            self._waiting.remove(submission)
            self._by_request.pop(submission.request_id, None)
            return True
        return False

    async def close(self) -> None:
        """End the stream; what is not settled fails with ClientClosed."""
        if self._runner is not None:
            self._runner.cancel()
            with suppress(asyncio.CancelledError):
                await self._runner
        self._batch.close()
        self._fail_all(ClientClosed("the client was closed before the task ended"))

    # The life of the stream.

    def _start(self) -> None:
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        elif self._duplex is not None:
            self._duplex.wake()

    async def _run(self) -> None:
        """While there is anything to wait for."""
        try:
            await self._stay_connected()
        except Exception as error:
            # A defect must not leave callers waiting for ever.
            self._fail_all(InternalError(f"the client failed: {error!r}"))
            raise

    async def _stay_connected(self) -> None:
        loop = asyncio.get_running_loop()
        while self._by_request:
            self._reset()
            opened_at = loop.time()
            call = self._connection.tasks.StreamTasks(metadata=self._connection.metadata)
            self._duplex = Duplex(call, self)
            try:
                error = await self._duplex.run()
            finally:
                self._duplex = None
            if not is_worth_reopening(error):
                self._fail_all(error)
                return
            if loop.time() - opened_at > LASTED_S:
                self._patience.worked()
            delay_s = self._patience.next_s(loop.time(), error.retry_after)
            if delay_s is None:
                self._fail_all(_unavailable(error))
                return
            await asyncio.sleep(delay_s)

    def _reset(self) -> None:
        """A new stream knows nothing of the old one."""
        self._holding.clear()
        self._stream_number += 1
        self._window = None
        self._is_greeted = False
        self._acks.clear()
        self._attaching = deque(s.request_id for s in self._by_request.values() if s.task_id)
        self._waiting = deque(s for s in self._by_request.values() if not s.task_id)

    def _fail_all(self, error: UpbeatError) -> None:
        submissions = list(self._by_request.values())
        self._by_request.clear()
        self._waiting.clear()
        self._attaching.clear()
        for submission in submissions:
            submission.fail(error)

    # The dialogue.

    def next_frame(self) -> Any | End | None:
        """Attachments, then submissions within the window, then acks.

        The server handles requests before acks: the room that acks free counts
        from the next frame on.
        """
        frame = task_service_pb2.StreamTasksRequest()
        is_wanted = not self._is_greeted
        if not self._is_greeted:
            frame.namespace = self._connection.namespace
            self._is_greeted = True
        while self._attaching and len(frame.attach) < FRAME_IDS_MAX:
            frame.attach.append(self._attaching[0])
            self._holding.add(self._attaching.popleft())
        if self._window is not None:
            self._add_submissions(frame, self._window)
        while self._acks and len(frame.finished_acks) < FRAME_IDS_MAX:
            frame.finished_acks.append(self._acks[0])
            self._holding.discard(self._acks.popleft())
        is_wanted = is_wanted or bool(frame.attach or frame.requests or frame.finished_acks)
        return frame if is_wanted else None

    def _add_submissions(self, frame: task_service_pb2.StreamTasksRequest, window: int) -> None:
        size = 0
        while self._waiting and len(self._holding) < window and len(frame.requests) < FRAME_ITEMS_MAX:
            submission = self._waiting[0]
            if submission.may_overflow and len(self._holding) >= window // 2:
                break
            size += submission.size
            if frame.requests and size > FRAME_BYTES_MAX:
                return
            self._waiting.popleft()
            frame.requests.append(submission.request)
            self._holding.add(submission.request_id)
        # Half of the window is for those whose end somebody waits for.
        if self._waiting and len(self._holding) >= window // 2:
            self._overflow()

    def _overflow(self) -> None:
        staying: deque[Submission] = deque()
        for submission in self._waiting:
            if submission.may_overflow:
                del self._by_request[submission.request_id]
                self._batch.add(submission)
            else:
                staying.append(submission)
        self._waiting = staying

    def due_s(self) -> float | None:
        """Nothing is due by time alone."""
        return None

    def received(self, frame: task_service_pb2.StreamTasksResponse) -> None:
        """A frame of the server."""
        self._patience.worked()
        if frame.window > 0:
            self._window = frame.window
        if frame.accepted:
            self._backoff.reset()
        for accepted in frame.accepted:
            submission = self._by_request.get(accepted.request_id)
            if submission is not None:
                submission.accept(accepted.task_id)
        for refused in frame.refused:
            self._refuse(refused.request_id, error_of_refusal(refused.error))
        for finished in frame.finished:
            self._acks.append(finished.request_id)
            submission = self._by_request.pop(finished.request_id, None)
            if submission is not None:
                submission.finish(finished)

    def _refuse(self, request_id: str, error: Refused) -> None:
        self._holding.discard(request_id)
        submission = self._by_request.get(request_id)
        if submission is None:
            return
        if not self._is_worth_repeating(submission, error):
            del self._by_request[request_id]
            submission.fail(error)
        elif error.reason == "WINDOW_EXCEEDED" and not submission.task_id:
            self._waiting.appendleft(submission)
        else:
            delay_s = self._backoff.next_s(error.retry_after or 0.0)
            asyncio.get_running_loop().call_later(delay_s, self._repeat, submission, self._stream_number)

    def _is_worth_repeating(self, submission: Submission, error: Refused) -> bool:
        if error.reason == "WINDOW_EXCEEDED":
            return True
        if isinstance(error, ResourceExhausted):
            return submission.is_patient and error.retry_after is not None
        if not isinstance(error, Unavailable):
            return False
        now = asyncio.get_running_loop().time()
        if submission.give_up_at is None:
            submission.give_up_at = now + self._connection.patience_s
        return now < submission.give_up_at

    def _repeat(self, submission: Submission, stream_number: int) -> None:
        """Offer it again, unless a new stream has done so in the meantime."""
        is_known = self._by_request.get(submission.request_id) is submission
        if not is_known or stream_number != self._stream_number:
            return
        if submission.task_id:
            self._attaching.append(submission.request_id)
        else:
            self._waiting.append(submission)
        self._start()


def _unavailable(error: Refused) -> Unavailable:
    return Unavailable(
        f"the server could not be reached: {error.message}; whether the task exists is not known",
        reason=error.reason,
        code="UNAVAILABLE",
    )
