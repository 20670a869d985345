"""Frames of an agent that are partly bad: the stream goes on, what is good in them counts."""

from __future__ import annotations

from typing import Any

from tests.server.rpc.bad_input import bus_frames
from tests.server.rpc.bad_input.case import NO_LEASE, FrameCase, agents_pb

NAN, INFINITE = float("nan"), float("inf")
LIVE = "f" * 20
"""Stands for the lease of a running attempt of the agent."""
Outcome: Any = agents_pb.ResultAck

BAD_LEASES = {
    "empty": "",
    "that climbs": "../../etc/passwd",
    "with a line break": "0000000000000000001\n",
    "with an escape": "\x1b[2J",
    "of 10 KB": "1" * 10_240,
    "of zeros": "0" * 20,
    "no server gives": "8" + "0" * 19,
    "in capitals": "A" * 20,
}


def bad(name: str, field: str, /, reason: str = "INVALID_FIELD", **fields: Any) -> FrameCase:
    """A frame with a bad field."""
    return FrameCase(name, agents_pb.ConnectRequest(**fields), reason, field)


def ack(name: str, **fields: Any) -> FrameCase:
    return bad(name, "attempt_acks[0].lease_id", attempt_acks=[fields])


def progress(name: str, field: str, /, **fields: Any) -> FrameCase:
    return bad(name, f"progress[1].{field}", progress=[{"lease_id": LIVE}, {"lease_id": LIVE, **fields}])


def result(name: str, outcome: int, /, **fields: Any) -> FrameCase:
    """A frame with a result of this outcome."""
    frame = agents_pb.ConnectRequest(results=[{"lease_id": LIVE, **fields}])
    return FrameCase(name, frame, outcome=outcome)


def usage(name: str, field: str, figure: int) -> FrameCase:
    """Usage that counts as 0; the result itself is accepted."""
    used: Any = {"lease_id": LIVE, "output": {"data": b"x"}, "usage": {field: figure}}
    frame = agents_pb.ConnectRequest(results=[used])
    return FrameCase(name, frame, "INVALID_FIELD", f"results.usage.{field}", Outcome.OUTCOME_ACCEPTED)


def unknown_fields() -> Any:
    """A wish to drain that holds what no contract has."""
    return agents_pb.ConnectRequest.FromString(b"\x52\x04\x9a\x06\x01\n")


CASES = [
    FrameCase("nothing at all", agents_pb.ConnectRequest()),
    FrameCase("fields that nobody knows", unknown_fields()),
    *(
        bad(f"{n} slots", "heartbeat.slots", heartbeat={"slots": n})
        for n in (-1, 10_001, 2**31 - 1, -(2**31))
    ),
    *(bad(f"load {n}", "heartbeat.load", heartbeat={"load": n}) for n in (NAN, INFINITE, -INFINITE)),
    # Answers to assignments.
    *(ack(f"ack: lease {what}", lease_id=text, accepted=True) for what, text in BAD_LEASES.items()),
    ack("ack: nothing"),
    FrameCase(
        "ack of nobody's lease with a reason of 10 KB",
        agents_pb.ConnectRequest(attempt_acks=[{"lease_id": NO_LEASE, "reason": "\n\x1b" * 5_120}]),
    ),
    # Progress.
    *(progress(f"progress: lease {what}", "lease_id", lease_id=text) for what, text in BAD_LEASES.items()),
    *(
        progress(f"fraction {n}", "fraction", fraction=n)
        for n in (NAN, INFINITE, -0.1, 1.1, -INFINITE, 1e308)
    ),
    progress("message of 1 KiB and a byte", "message", message="x" * 1_025),
    progress("message of 1 KiB in wide characters", "message", message="é" * 513),
    progress("chunk of 64 KiB and a byte", "chunk", chunk=bytes((64 << 10) + 1)),
    *(progress(f"piece {n}", "sequence", sequence=n) for n in (-1, -(2**63))),
    FrameCase(
        "progress of nobody's lease",
        agents_pb.ConnectRequest(progress=[{"lease_id": NO_LEASE, "sequence": 2**63 - 1}]),
    ),
    # Results.
    *(
        FrameCase(
            f"result: lease {what}",
            agents_pb.ConnectRequest(results=[{"lease_id": text, "output": {}}]),
            outcome=Outcome.OUTCOME_UNKNOWN,
        )
        for what, text in {**BAD_LEASES, "nobody had": NO_LEASE}.items()
    ),
    result("result of nothing", Outcome.OUTCOME_REJECTED),
    result("output of 1 MiB and a byte", Outcome.OUTCOME_REJECTED, output={"data": bytes((1 << 20) + 1)}),
    result(
        "output with a line break in its type",
        Outcome.OUTCOME_REJECTED,
        output={"content_type": "a\nb", "data": b"x"},
    ),
    result("output that is no number", Outcome.OUTCOME_REJECTED, output={"json": {"number_value": NAN}}),
    result("output that is unset JSON", Outcome.OUTCOME_REJECTED, output={"json": {}}),
    result("error without reason", Outcome.OUTCOME_REJECTED, error={}),
    result("error reason with a line break", Outcome.OUTCOME_REJECTED, error={"reason": "A\nB"}),
    result("error reason of 64", Outcome.OUTCOME_REJECTED, error={"reason": "R" * 64}),
    result(
        "error of 10 KB with 1,000 details",
        Outcome.OUTCOME_ACCEPTED,  # It is cut.
        error={
            "reason": "BROKEN",
            "message": "\x1b\n" * 5_120,
            "non_retryable": True,
            "details": {f"k{n}\n": "x" * 2_000 for n in range(1_000)},
        },
    ),
    *(
        usage(f"{field} {n}", field, n)
        for field in ("input_tokens", "output_tokens")
        for n in (-1, 2**63 - 1)
    ),
    usage("cost beyond 2^53", "cost_micros", 2**53 + 1),
    # The bus.
    *(
        bad(f"delivery ack {what}", "delivery_acks[0].delivery_id", delivery_acks=[{"delivery_id": text}])
        for what, text in {"that climbs": "../x", "of 10 KB": "1" * 10_240, "of zeros": "0" * 32}.items()
    ),
    FrameCase(
        "ack of what nobody was sent",
        agents_pb.ConnectRequest(delivery_acks=[{"delivery_id": f"{1:032x}"[:15] + "1" + "0" * 15 + "1"}]),
    ),
    # Answered by acknowledgements of their own, not by errors: test_bus_frames.py reads them.
    *(
        FrameCase(f"publish {row.name}", agents_pb.ConnectRequest(publishes=[row.frame]))
        for row in bus_frames.PUBLISHES
    ),
    *(
        FrameCase(f"subscribe {row.name}", agents_pb.ConnectRequest(subscribes=[row.frame]))
        for row in bus_frames.SUBSCRIBES
    ),
    # Coming and going.
    *(
        bad(
            f"capability {what}",
            "capability_changes[1].capability",
            capability_changes=[{"capability": "fine"}, {"capability": text, "removed": removed}],
        )
        for what, text, removed in (
            ("empty", "", False),
            ("with a line break", "a\nb", True),
            ("of 129", "c" * 129, False),
            ("turned around", "a\u202eb", False),
        )
    ),
    bad(
        "one capability too many",
        "capability_changes[255].capability",
        capability_changes=[{"capability": f"more{n}"} for n in range(256)],
    ),
    bad("goodbye of 256 bytes", "goodbye.reason", goodbye={"reason": "x" * 256}),
]
