"""What an agent answers to a step of a collaboration.

A pure function of who answers what, so that an outcome can be judged by who was asked:
agents disagree, some votes are none, some outputs are not acceptable. Only the lease tells
one attempt of a step from another.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from zlib import crc32

from upbeat.v1 import agent_service_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Sequence

CHOICES = ("yes", "no")
VOTES: Sequence[str | None] = ("yes", "yes", "yes", " YES", "no", "no", "perhaps", None)
WINNERS = ("first", "second", "second", "tie")
ATTEMPT_COST_MICROS = 100
"""What an attempt costs at most, and is reserved with where there is a budget."""


def answer(assignment: wire.Assignment, agent_id: str) -> wire.AttemptResult:
    """What an honest agent says to a step, unless it fails."""
    luck = crc32(f"{agent_id} {assignment.idempotency_key}".encode())
    result = wire.AttemptResult(lease_id=assignment.lease_id)
    result.usage.cost_micros = luck % (ATTEMPT_COST_MICROS + 1)
    if luck % 29 == 0:
        result.error.reason = "ABSTAINED"
        result.error.non_retryable = True
        return result
    said = {
        "accept": luck % 3 != 0,
        "by": assignment.lease_id,
        "score": luck // 3 % 5,
        "vote": VOTES[luck // 7 % len(VOTES)],
        "winner": WINNERS[luck // 11 % len(WINNERS)],
    }
    result.output.content_type = "application/json"
    result.output.data = json.dumps(said).encode()
    return result
