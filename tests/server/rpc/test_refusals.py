"""Refusals as callers see them: complete, bounded, printable."""

from __future__ import annotations

from typing import TypeVar

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from upbeat_server.engine import reasons
from upbeat_server.engine.model import Refusal
from upbeat_server.rpc.refusals import CODES, code_of, printable, refusal_message, status_of

Detail = TypeVar("Detail", bound=Message)
NAMES = sorted(value for name, value in vars(reasons).items() if name.isupper())
TRAILERS_BYTES_MAX = 8 << 10


def detail(status: status_pb2.Status, kind: type[Detail]) -> Detail:
    """The detail of one kind; empty if there is none."""
    found = kind()
    for packed in status.details:
        packed.Unpack(found)
    return found


def test_every_reason_has_a_code_and_every_code_a_reason() -> None:
    assert sorted(CODES) == NAMES


@pytest.mark.parametrize("reason", NAMES)
def test_only_a_defect_is_internal_and_nothing_is_unknown(reason: str) -> None:
    assert CODES[reason] not in {grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN}
    assert (CODES[reason] is grpc.StatusCode.INTERNAL) == (reason == reasons.INTERNAL)


def test_a_status_names_reason_domain_metadata_and_fields() -> None:
    refusal = Refusal(
        reasons.INVALID_FIELD,
        "two fields are wrong",
        {"limit": "5"},
        (("spec.type", "is empty"), ("spec.priority", "is not a priority")),
    )
    status = status_of(refusal)
    info = detail(status, error_details_pb2.ErrorInfo)
    violations = detail(status, error_details_pb2.BadRequest).field_violations
    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert (info.reason, info.domain, dict(info.metadata)) == ("INVALID_FIELD", "upbeat", {"limit": "5"})
    assert [violation.field for violation in violations] == ["spec.type", "spec.priority"]


def test_a_bound_that_was_hit_says_which_and_when_to_try_again() -> None:
    status = status_of(Refusal(reasons.QUEUE_FULL, "the queue is full", retry_ms=1_500))
    quota = detail(status, error_details_pb2.QuotaFailure)
    retry = detail(status, error_details_pb2.RetryInfo)
    assert quota.violations[0].subject == "upbeat:QUEUE_FULL"
    assert retry.retry_delay.ToMilliseconds() == 1_500


def test_a_thousand_violations_still_fit_into_the_trailers() -> None:
    violations = tuple((f"requests[{number}].spec.type", "is empty " * 50) for number in range(1_000))
    refusal = Refusal(
        reasons.INVALID_FIELD, "x" * 100_000, {str(n): "y" * 100 for n in range(500)}, violations
    )
    status = status_of(refusal)
    last = detail(status, error_details_pb2.BadRequest).field_violations[-1]
    assert len(status.SerializeToString()) < TRAILERS_BYTES_MAX
    assert "more" in last.description


def test_a_status_in_wide_characters_still_fits_into_the_trailers() -> None:
    wide = "😀" * 1_000
    status = status_of(Refusal(reasons.INVALID_FIELD, wide, {"a": wide, "b": wide}, ((wide, wide),) * 40))
    as_message = 3 * len(status.message.encode())  # grpc-message escapes each byte.
    as_details = len(status.SerializeToString()) * 4 // 3
    assert as_message + as_details < TRAILERS_BYTES_MAX - 200  # Names and lengths weigh, too.


def test_what_a_caller_wrote_cannot_move_a_cursor() -> None:
    status = status_of(Refusal(reasons.INVALID_FIELD, "no \x1b[2J\n\u202e such type"))
    assert status.message.isprintable()
    assert "\\x1b" in status.message


def test_words_in_any_script_stay_as_they_are() -> None:
    assert printable("größe 大きさ", 100) == "größe 大きさ"


def test_a_long_text_is_cut_where_it_says_so() -> None:
    assert printable("a" * 20, 10) == "aaaaaaa..."


def test_within_a_batch_a_refusal_says_the_same() -> None:
    refusal = Refusal(reasons.QUEUE_FULL, "full", {"limit": "1"}, (("spec", "no room"),), retry_ms=1_000)
    message = refusal_message(refusal)
    assert (message.code, message.reason) == (code_of(refusal).value[0], "QUEUE_FULL")
    assert dict(message.metadata) == {"limit": "1"}
    assert message.violations[0].field == "spec"
    assert message.retry_delay.ToMilliseconds() == 1_000


def test_a_reason_that_nobody_knows_is_a_defect() -> None:
    assert code_of(Refusal("NO_SUCH_REASON", "")) is grpc.StatusCode.INTERNAL
