"""Frames of an agent's stream, in both directions.

A frame is a batch: one bad item does not spoil the others. A result whose lease
is no lease is answered UNKNOWN; one whose body is invalid fails its attempt
(REJECTED); what else is wrong is told in an ``error`` frame and skipped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from upbeat.v1 import agent_service_pb2
from upbeat_server.engine import reasons
from upbeat_server.engine.events import (
    AgentConnected,
    AgentFrame,
    AttemptAcked,
    AttemptEnded,
    AttemptProgressed,
    CapabilityChanged,
)
from upbeat_server.engine.model import Error, ResultOutcome, Usage
from upbeat_server.rpc.bus_frames import BusReader, read_acks, read_subscribes, write_bus, write_publish_acks
from upbeat_server.rpc.faults import Faults, cut_bytes, is_agent, is_plain, is_reason, is_type, read_labels
from upbeat_server.rpc.ids import lease_number, lease_text, read_session_id, task_text
from upbeat_server.rpc.item_writer import AssignmentWriter, write_answers
from upbeat_server.rpc.parts import fill_duration
from upbeat_server.rpc.values import read_payload
from upbeat_server.runtime.refused import Refused, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from upbeat.v1 import payload_pb2
    from upbeat_server.engine.limits import Limits
    from upbeat_server.runtime.bounds import PayloadBounds
    from upbeat_server.runtime.outbox import AgentOutbox, Parcel

SLOTS_MAX = 10_000
CAPABILITIES_MAX = 256
HELD_LEASES_MAX = 20_000
ITEMS_MAX = 10_000
"""Items of one kind in one frame."""
MESSAGE_BYTES_MAX = 1_024
ERROR_MESSAGE_BYTES_MAX = 4_096
DETAILS_MAX = 32
DETAIL_BYTES_MAX = 1_024
GOODBYE_BYTES_MAX = 255
USAGE_MAX = 1 << 53


def read_hello(hello: agent_service_pb2.Hello) -> AgentConnected:
    """Who an agent says it is. Raises Refused that names every bad field."""
    faults = Faults()
    name = hello.name or hello.agent_id
    if not is_agent(hello.agent_id):
        faults.add("hello.agent_id", "must be 1 to 128 characters of [A-Za-z0-9_.:/@-] without '..'")
    if hello.name and not is_agent(hello.name):
        faults.add("hello.name", "must be at most 128 characters of [A-Za-z0-9_.:/@-] without '..'")
    if not 1 <= len(hello.capabilities) <= CAPABILITIES_MAX:
        faults.add(
            "hello.capabilities",
            f"has {len(hello.capabilities):,} entries; 1 to {CAPABILITIES_MAX} are allowed",
        )
    else:
        for number, capability in enumerate(hello.capabilities):
            if not is_type(capability):
                faults.add(
                    f"hello.capabilities[{number}]",
                    "must be 1 to 128 characters of [A-Za-z0-9_.:/-], the first one a letter or digit",
                )
    if not 1 <= hello.slots <= SLOTS_MAX:
        faults.add("hello.slots", f"{hello.slots:,} is not from 1 to {SLOTS_MAX:,}")
    if not is_plain(hello.sdk_version, 128):
        faults.add("hello.sdk_version", "must be at most 128 bytes without control characters")
    labels = read_labels(dict(hello.labels), "hello.labels", faults)
    session_id = 0
    try:
        session_id = read_session_id(hello.session_id, "hello.session_id")
    except Refused as error:
        faults.add_refusal(error.refusal)
    held_leases = [lease_number(lease) for lease in hello.held_leases[: HELD_LEASES_MAX + 1]]
    if len(held_leases) > HELD_LEASES_MAX:
        faults.add("hello.held_leases", f"has more than {HELD_LEASES_MAX:,} entries")
    elif 0 in held_leases:
        faults.add(f"hello.held_leases[{held_leases.index(0)}]", "is no lease_id that the server gave")
    faults.raise_any()
    return AgentConnected(
        0,
        hello.agent_id,
        name,
        list(dict.fromkeys(hello.capabilities)),
        labels,
        hello.slots,
        session_id,  # type: ignore[arg-type]
        held_leases,
        hello.sdk_version,
    )


class FrameReader:
    """Reads the frames of one agent after its hello."""

    def __init__(self, payloads: PayloadBounds, outbox: AgentOutbox, capabilities: Iterable[str]) -> None:
        self._payloads = payloads
        self._outbox = outbox
        self._bus = BusReader(payloads.message_bytes_max)
        self._output_faults = Faults()
        self._faults = Faults()  # Of the frame that is read; kept for the next if it stays empty.
        self._offered = set(capabilities)  # As the frames so far have it: what bounds further ones.

    def read(self, message: agent_service_pb2.ConnectRequest) -> AgentFrame:
        """What the frame says. What is wrong with it goes to the outbox. Raises Refused for
        a frame that no agent of good will sends.
        """
        faults = self._faults
        if faults:
            faults = self._faults = Faults()
        frame = AgentFrame(0)  # type: ignore[arg-type]
        for field, value in message.ListFields():
            name = field.name
            if name == "results":
                _bound(name, len(value))
                frame.results = self._results(value, faults)
            elif name == "attempt_acks":
                _bound(name, len(value))
                frame.acks = _acks(value, faults)
            elif name == "progress":
                _bound(name, len(value))
                frame.progress = self._progress(value, faults)
            elif name == "heartbeat":
                frame.slots = _heartbeat_slots(value, faults)
            elif name == "capability_changes":
                _bound(name, len(value), CAPABILITIES_MAX)
                frame.changes = self._changes(value, faults)
            elif name == "drain":
                frame.drain = True
            elif name == "goodbye":
                frame.goodbye = True
                if len(value.reason.encode()) > GOODBYE_BYTES_MAX:
                    faults.add("goodbye.reason", f"is longer than {GOODBYE_BYTES_MAX} bytes")
            else:
                self._bus_field(frame, name, value, faults)
        if faults:
            self._outbox.error(faults.refusal())
        return frame

    def _bus_field(self, frame: AgentFrame, name: str, value: Any, faults: Faults) -> None:
        if name == "publishes":
            _bound(name, len(value))
            frame.publishes = self._bus.publishes(value, self._outbox.mail)
        elif name == "subscribes":
            _bound(name, len(value))
            frame.subscribes = read_subscribes(value, self._outbox.mail)
        elif name == "delivery_acks":
            _bound(name, len(value))
            frame.delivery_acks = read_acks(value, name, faults)
        self._outbox.stir()

    def _results(self, messages: object, faults: Faults) -> list[AttemptEnded]:
        results: list[AttemptEnded] = []
        for message in messages:  # type: ignore[attr-defined]
            lease_id = lease_number(message.lease_id)
            if not lease_id:
                self._outbox.answer(message.lease_id[:64], ResultOutcome.UNKNOWN)
                continue
            usage = _usage(message.usage, faults) if message.HasField("usage") else None
            if message.HasField("output"):
                results.append(self._output(lease_id, message.output, usage))
            elif message.HasField("error"):
                results.append(_failure(lease_id, message.error, usage))
            else:
                error = Error(reasons.INVALID_RESULT, "the result has neither output nor error")
                results.append(AttemptEnded(lease_id, None, error, usage, rejected=True))
        return results

    def _output(self, lease_id: int, message: payload_pb2.Payload, usage: Usage | None) -> AttemptEnded:
        faults = self._output_faults
        output = read_payload(message, "output", faults)
        if faults:
            self._output_faults = Faults()
            error = Error(reasons.INVALID_RESULT, faults.refusal().message)
            return AttemptEnded(lease_id, None, error, usage, rejected=True)
        most = self._payloads.output_bytes_max
        if len(output.data) > most:
            error = Error(
                reasons.OUTPUT_TOO_LARGE,
                f"output has {len(output.data):,} bytes; the limit is {most:,}: "
                "store it elsewhere and answer a reference",
            )
            return AttemptEnded(lease_id, None, error, usage, rejected=True)
        return AttemptEnded(lease_id, output, None, usage)

    def _progress(self, messages: object, faults: Faults) -> list[AttemptProgressed]:
        progress: list[AttemptProgressed] = []
        chunk_max = self._payloads.chunk_bytes_max
        for number, message in enumerate(messages):  # type: ignore[arg-type, var-annotated]
            path = f"progress[{number}]"
            lease_id = lease_number(message.lease_id)
            if not lease_id:
                faults.add(f"{path}.lease_id", "is no lease_id that the server gave")
            elif not 0 <= message.fraction <= 1:  # Not a number fails, too.
                faults.add(f"{path}.fraction", "must be from 0 to 1")
            elif len(message.message.encode()) > MESSAGE_BYTES_MAX:
                faults.add(f"{path}.message", f"is longer than {MESSAGE_BYTES_MAX:,} bytes")
            elif len(message.chunk) > chunk_max:
                faults.add(f"{path}.chunk", f"has {len(message.chunk):,} bytes; the limit is {chunk_max:,}")
            elif message.sequence < 0:
                faults.add(f"{path}.sequence", "is negative; pieces count from 1")
            else:
                progress.append(
                    AttemptProgressed(
                        lease_id, message.fraction, message.message, message.chunk, message.sequence
                    )
                )
        return progress

    def _changes(self, messages: object, faults: Faults) -> list[CapabilityChanged]:
        changes: list[CapabilityChanged] = []
        offered = self._offered
        for number, message in enumerate(messages):  # type: ignore[arg-type, var-annotated]
            capability = message.capability
            path = f"capability_changes[{number}].capability"
            if not is_type(capability):
                faults.add(
                    path,
                    "must be 1 to 128 characters of [A-Za-z0-9_.:/-], the first one a letter or digit",
                )
                continue
            if message.removed:
                offered.discard(capability)
            elif capability in offered or len(offered) < CAPABILITIES_MAX:
                offered.add(capability)
            else:
                faults.add(path, f"{CAPABILITIES_MAX} are offered already, which is the limit")
                continue
            changes.append(CapabilityChanged(capability, message.removed))
        return changes


class FrameWriter:
    """Writes the frames to one agent."""

    def __init__(self, namespace: str, limits: Limits, payloads: PayloadBounds, server_version: str) -> None:
        self._assignments = AssignmentWriter(namespace)
        self._limits = limits
        self._payloads = payloads
        self._server_version = server_version

    def write(self, parcel: Parcel) -> bytes:
        """One frame."""
        parts: list[bytes] = []
        if parcel.has_control:
            parts.append(self._control(parcel).SerializeToString())
        if parcel.assignments:
            self._assignments.write(parcel.assignments, parts)
        if parcel.answers:
            write_answers(parcel.answers, parts)
        return b"".join(parts)

    def _control(self, parcel: Parcel) -> agent_service_pb2.ConnectResponse:
        """Everything but assignments and answers to results."""
        message = agent_service_pb2.ConnectResponse()
        if parcel.welcome is not None:
            self._welcome(message.welcome, parcel)
        for cancel in parcel.cancels:
            added = message.cancels.add(lease_id=lease_text(cancel.lease_id), reason=cancel.reason)
            if cancel.grace_ms:
                fill_duration(added.grace, cancel.grace_ms)
        if parcel.bus is not None:
            write_bus(parcel.bus, message)
            write_publish_acks(parcel.bus, message)
        if parcel.drain:
            message.drain.reason = parcel.drain
        if parcel.error is not None:
            message.error.reason = parcel.error.reason
            message.error.message = parcel.error.message
            for field, description in parcel.error.violations:
                message.error.violations.add(field=field, description=description)
        return message

    def _welcome(self, message: agent_service_pb2.Welcome, parcel: Parcel) -> None:
        welcome = parcel.welcome
        if welcome is None:
            return
        graces = self._limits.graces
        message.session_id = task_text(welcome.session_id)
        message.resumed = welcome.resumed
        fill_duration(message.heartbeat_interval, graces.heartbeat_interval_ms)
        fill_duration(message.disconnect_grace, graces.disconnect_grace_ms)
        fill_duration(message.lease_timeout, graces.lease_timeout_ms)
        message.dropped_leases.extend(lease_text(lease_id) for lease_id in welcome.dropped_leases)
        message.output_bytes_max = self._payloads.output_bytes_max
        message.frame_bytes_max = self._payloads.frame_bytes_max
        message.server_version = self._server_version


def _bound(name: str, count: int, most: int = ITEMS_MAX) -> None:
    if count > most:
        raise invalid(name, f"has {count:,} entries; the limit of a frame is {most:,}: send several frames")


def _acks(messages: object, faults: Faults) -> list[AttemptAcked]:
    acks: list[AttemptAcked] = []
    for number, message in enumerate(messages):  # type: ignore[arg-type, var-annotated]
        lease_id = lease_number(message.lease_id)
        if not lease_id:
            faults.add(f"attempt_acks[{number}].lease_id", "is no lease_id that the server gave")
        elif message.accepted:
            acks.append(AttemptAcked(lease_id, accepted=True))  # It needs no reason.
        else:
            acks.append(
                AttemptAcked(lease_id, accepted=False, reason=cut_bytes(message.reason, MESSAGE_BYTES_MAX))
            )
    return acks


def _heartbeat_slots(message: agent_service_pb2.Heartbeat, faults: Faults) -> int:
    if not math.isfinite(message.load):
        faults.add("heartbeat.load", "is not a finite number")
    if not message.HasField("slots"):
        return -1
    if not 0 <= message.slots <= SLOTS_MAX:
        faults.add("heartbeat.slots", f"{message.slots:,} is not from 0 to {SLOTS_MAX:,}")
        return -1
    return message.slots


def _failure(lease_id: int, message: payload_pb2.Error, usage: Usage | None) -> AttemptEnded:
    if not is_reason(message.reason):
        error = Error(reasons.INVALID_RESULT, "error.reason must be 1 to 63 characters of [A-Za-z0-9_.-]")
        return AttemptEnded(lease_id, None, error, usage, rejected=True)
    details = dict(sorted(message.details.items())[:DETAILS_MAX])
    error = Error(
        message.reason,
        cut_bytes(message.message, ERROR_MESSAGE_BYTES_MAX),
        message.non_retryable if message.HasField("non_retryable") else None,
        {cut_bytes(key, 255): cut_bytes(text, DETAIL_BYTES_MAX) for key, text in details.items()},
    )
    return AttemptEnded(lease_id, None, error, usage)


def _usage(message: object, faults: Faults) -> Usage:
    figures: list[int] = []
    for name in ("input_tokens", "output_tokens", "cost_micros"):
        figure: int = getattr(message, name)
        if not 0 <= figure <= USAGE_MAX:
            faults.add(f"results.usage.{name}", f"{figure:,} is not from 0 to 2^53 and counts as 0")
            figure = 0
        figures.append(figure)
    return Usage(*figures)
