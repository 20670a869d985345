"""Reads submissions: everything that is wrong with one at once.

What comes out is valid and has its defaults resolved; nothing behind the door
checks it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from upbeat_server.engine import reasons
from upbeat_server.engine.events import Submission
from upbeat_server.rpc.faults import Faults, is_ascii
from upbeat_server.rpc.spec_reader import SpecReader, collaboration_size_fault
from upbeat_server.runtime.conditions import conditions_of
from upbeat_server.runtime.refused import Refused
from upbeat_server.runtime.selector import compile_selector
from upbeat_server.store import codec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from upbeat.v1 import task_service_pb2
    from upbeat_server.engine.collaboration.mode import Mode
    from upbeat_server.engine.model import Refusal, TaskSpec

REQUEST_ID_CHARS_MAX = 128


class SubmissionReader:
    """Reads submissions under the limits of this server, with the custom modes that it has."""

    def __init__(self, input_bytes_max: int, modes: Mapping[str, Mode] | None = None) -> None:
        self._specs = SpecReader(input_bytes_max, modes or {})
        self._faults = Faults()  # Of the submission that is read; kept for the next if it stays empty.

    def read(
        self, request: task_service_pb2.SubmitTaskRequest, *, needs_request_id: bool = False
    ) -> Submission | Refusal:
        """The submission, or everything that is wrong with it."""
        faults = self._faults
        if faults:
            faults = self._faults = Faults()
        request_id = request.request_id
        if not is_ascii(request_id, REQUEST_ID_CHARS_MAX):
            faults.add("request_id", f"must be at most {REQUEST_ID_CHARS_MAX} printable ASCII characters")
        elif needs_request_id and not request_id:
            faults.add("request_id", "must be set on a stream: answers are matched by it")
        if not request.HasField("spec"):
            faults.add("spec", "must be set")
            return faults.refusal()
        spec = self._specs.read(request.spec, faults)
        if spec is None:
            return faults.refusal()
        submission = _submission(spec, request_id)
        return submission if spec.collaboration is None else _completed(submission, faults)

    def again(self, spec: TaskSpec, request_id: str) -> Submission | Refusal:
        """The submission of a spec that was let in before, which rules of today may refuse."""
        faults = Faults()
        if not is_ascii(request_id, REQUEST_ID_CHARS_MAX):
            faults.add("request_id", f"must be at most {REQUEST_ID_CHARS_MAX} printable ASCII characters")
            return faults.refusal()
        try:
            submission = _submission(spec, request_id)
            return submission if spec.collaboration is None else _completed(submission, faults)
        except Refused as error:  # A condition that this release does not take.
            return error.refusal


def _submission(spec: TaskSpec, request_id: str) -> Submission:
    spec_bytes = codec.encode_spec(spec)
    return Submission(
        0,
        spec,
        spec_bytes,
        codec.fingerprint_of(spec, spec_bytes),
        request_id,
        compile_selector(spec.selector) if spec.selector else None,
    )


def _completed(submission: Submission, faults: Faults) -> Submission | Refusal:
    """The submission of a collaboration with its conditions, unless its bytes have become too many."""
    size_fault = collaboration_size_fault(len(submission.spec_bytes))
    if size_fault:
        faults.add("spec.collaboration", size_fault, reasons.TASK_TOO_LARGE)
        return faults.refusal()
    submission.predicates, submission.checks = conditions_of(submission.spec, _refuse)
    return submission


def _refuse(refusal: Refusal) -> NoReturn:
    raise Refused(refusal)
