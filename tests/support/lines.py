"""What can be said to a play: one function for each fact, by short names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.play import compiled, selectors_of
from upbeat_server.engine.events import (
    AdoptionStarted,
    AgentConnected,
    AgentDrainWanted,
    AgentFrame,
    AttemptAcked,
    AttemptEnded,
    AttemptProgressed,
    CapabilityChanged,
    ItemsAppended,
    ItemsClosed,
    SessionEnded,
    Submission,
    TaskCancelled,
    TasksPurged,
    TasksSubmitted,
)
from upbeat_server.engine.model import (
    Collaboration,
    Error,
    Payload,
    Priority,
    SessionId,
    TaskId,
    TaskSpec,
    Usage,
)
from upbeat_server.store.codec import encode_spec, fingerprint

if TYPE_CHECKING:
    from tests.support.play import Line, Play
    from upbeat_server.engine.events import Event

LOW, NORMAL, HIGH, CRITICAL = Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.CRITICAL


def spec_of(**fields: Any) -> TaskSpec:
    """A spec; its type is "work" if not said otherwise."""
    return TaskSpec(**{"type": "work", **fields})


def submission(spec: TaskSpec, request_id: str = "", index: int = 0) -> Submission:
    """A submission as the door hands it in."""
    spec_bytes = encode_spec(spec)
    return Submission(
        index,
        spec,
        spec_bytes,
        fingerprint(spec_bytes),
        request_id,
        compiled(spec.selector),
        selectors_of(spec),
    )


def submit(name: str, *, request_id: str = "", **fields: Any) -> Line:
    """Somebody submits a task, from now on called ``name``."""

    def line(play: Play) -> Event:
        play.answers.append(name)
        return TasksSubmitted(len(play.answers) - 1, [submission(spec_of(**fields), request_id)])

    return line


def collaborate(
    name: str, mode: Any, *, step_fields: dict[str, Any] | None = None, request_id: str = "", **fields: Any
) -> Line:
    """Somebody submits a collaboration; ``fields`` of Collaboration, ``step_fields`` of its spec."""

    def line(play: Play) -> Event:
        play.answers.append(name)
        spec = TaskSpec("", collaboration=Collaboration(mode, **fields), **(step_fields or {}))
        return TasksSubmitted(len(play.answers) - 1, [submission(spec, request_id)])

    return line


def append(name: str, *items: bytes, first_index: int = -1) -> Line:
    """Somebody appends items to an open pipeline."""
    payloads = [Payload("application/json", item) for item in items]
    return lambda play: ItemsAppended(0, play.tasks.get(name, TaskId(0xBAD)), payloads, first_index)


def close(name: str) -> Line:
    """Somebody closes the items of an open pipeline."""
    return lambda play: ItemsClosed(0, play.tasks.get(name, TaskId(0xBAD)))


def cancel(name: str) -> Line:
    """Somebody cancels a task."""
    return lambda play: TaskCancelled(0, play.tasks.get(name, TaskId(0xBAD)))


def hello(name: str, *, slots: int = 1, offers: tuple[str, ...] = ("work",), **fields: Any) -> Line:
    """An agent says hello. ``holds``: names of leases; ``resumes``: its last session; ``labels``."""

    def line(play: Play) -> Event:
        return AgentConnected(
            origin=0,
            agent_id=name,
            name=name,
            capabilities=list(offers),
            labels=fields.get("labels", {}),
            slots=slots,
            session_id=play.sessions[name] if fields.get("resumes") else SessionId(0),
            held_leases=[play.lease(lease) for lease in fields.get("holds", ())],
        )

    return line


def frame(name: str, **fields: Any) -> Line:
    """Any frame of an agent's last session."""
    return lambda play: AgentFrame(play.sessions[name], **fields)


def beat(name: str) -> Line:
    """A sign of life."""
    return frame(name)


def ack(lease: str, by: str = "") -> Line:
    """The holder takes an assignment."""
    return _of_lease(lease, by, lambda lease_id: {"acks": [AttemptAcked(lease_id, accepted=True)]})


def reject(lease: str, reason: str = "", by: str = "") -> Line:
    """The holder gives an assignment back."""
    return _of_lease(
        lease, by, lambda lease_id: {"acks": [AttemptAcked(lease_id, accepted=False, reason=reason)]}
    )


def progress(lease: str, fraction: float = 0.0, by: str = "", **fields: Any) -> Line:
    """The holder says how it gets on."""
    return _of_lease(
        lease, by, lambda lease_id: {"progress": [AttemptProgressed(lease_id, fraction, **fields)]}
    )


def result(
    lease: str, output: bytes = b"done", by: str = "", usage: Usage | None = None, content_type: str = ""
) -> Line:
    """The holder reports an output."""
    ended = {"output": Payload(content_type, output), "usage": usage}
    return _of_lease(lease, by, lambda lease_id: {"results": [AttemptEnded(lease_id, **ended)]})  # type: ignore[arg-type]


def failure(lease: str, reason: str = "BROKEN", by: str = "", **fields: Any) -> Line:
    """The holder reports an error; what may be said besides is of Error, ``rejected`` and ``usage``."""
    error = Error(
        reason,
        fields.pop("message", "it broke"),
        fields.pop("non_retryable", None),
        fields.pop("details", {}),
    )
    return _of_lease(lease, by, lambda lease_id: {"results": [AttemptEnded(lease_id, error=error, **fields)]})


def _of_lease(lease: str, by: str, fields: Any) -> Line:
    def line(play: Play) -> Event:
        lease_id = play.lease(lease)
        return AgentFrame(play.sessions[by or play.holders[lease_id]], **fields(lease_id))

    return line


def offer(name: str, *capabilities: str) -> Line:
    """An agent offers more."""
    return frame(name, changes=[CapabilityChanged(capability, False) for capability in capabilities])


def withdraw(name: str, *capabilities: str) -> Line:
    """An agent offers less."""
    return frame(name, changes=[CapabilityChanged(capability, True) for capability in capabilities])


def goodbye(name: str) -> Line:
    """An agent leaves."""
    return frame(name, goodbye=True)


def cut(name: str) -> Line:
    """The stream of an agent is gone."""
    return lambda play: SessionEnded(play.sessions[name])


def drain(name: str) -> Line:
    """An operator drains an agent."""
    return lambda play: AgentDrainWanted(0, name)


def purged(*request_ids: str) -> Line:
    """The store forgot finished tasks."""
    return lambda play: TasksPurged(list(request_ids))


def listening() -> Line:
    """The server listens after a restart."""
    return lambda play: AdoptionStarted()


def answer(lease: str, document: bytes, by: str = "") -> Line:
    """The holder reports an output that is JSON."""
    return result(lease, document, by, content_type="application/json")
