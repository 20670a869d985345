"""Specs as callers send them, and what the door makes of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from upbeat.v1 import task_service_pb2
from upbeat_server.engine.collaboration.mode import Reducer, Setting
from upbeat_server.engine.events import Submission
from upbeat_server.engine.model import Collaboration, CustomMode, Refusal
from upbeat_server.rpc.validate import SubmissionReader

wire: Any = task_service_pb2  # Messages take dicts for messages, which their stubs do not know.
STEP = {"type": "work"}


class Picky:
    """A mode that wants parameters, and breaks on some."""

    def faults(self, custom: CustomMode) -> Iterable[tuple[str, str]]:
        if custom.params.data == b"break":
            raise RuntimeError("secret")
        if not custom.params.data:
            yield "params", "must be set"
        if not custom.steps:
            yield "steps", "must have one"

    def children_max(self, custom: CustomMode) -> int:
        return 1_001 if custom.params.data == b"wide" else 2

    def reducer(self, setting: Setting) -> Reducer:
        raise NotImplementedError


def read(reader: SubmissionReader, **spec: Any) -> Submission | Refusal:
    """A submission of a spec."""
    return reader.read(wire.SubmitTaskRequest(spec=spec))


def submission_of(reader: SubmissionReader, **collaboration: Any) -> Submission:
    """The submission of a good collaboration."""
    answer = read(reader, collaboration=collaboration)
    assert isinstance(answer, Submission), answer
    return answer


def collaboration_of(reader: SubmissionReader, **collaboration: Any) -> Collaboration:
    """A good collaboration as it was read."""
    found = submission_of(reader, **collaboration).spec.collaboration
    assert found is not None
    return found


def faults_of(reader: SubmissionReader, **collaboration: Any) -> dict[str, str]:
    """What is wrong with a collaboration, by field below ``spec.collaboration.``."""
    return spec_faults(reader, "spec.collaboration.", collaboration=collaboration)


def spec_faults(reader: SubmissionReader, below: str = "", **spec: Any) -> dict[str, str]:
    """What is wrong with a spec, by field."""
    answer = read(reader, **spec)
    assert isinstance(answer, Refusal), answer
    return {field.removeprefix(below): words for field, words in answer.violations}
