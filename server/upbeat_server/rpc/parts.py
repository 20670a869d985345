"""What messages are made of: payloads, errors, usage, times and durations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

    from upbeat.v1 import payload_pb2, task_pb2
    from upbeat_server.engine.model import Error, Payload, Usage


def fill_payload(message: payload_pb2.Payload, payload: Payload) -> None:
    """Write a payload; always as bytes."""
    message.content_type = payload.content_type
    message.data = payload.data


def fill_error(message: payload_pb2.Error, error: Error) -> None:
    """Write an error."""
    message.reason = error.reason
    message.message = error.message
    if error.non_retryable is not None:
        message.non_retryable = error.non_retryable
    message.details.update(error.details)


def fill_usage(message: task_pb2.Usage, usage: Usage) -> None:
    """Write what was used."""
    message.input_tokens = usage.input_tokens
    message.output_tokens = usage.output_tokens
    message.cost_micros = usage.cost_micros


def fill_time(message: Timestamp, milliseconds: int) -> None:
    """Write a time."""
    message.seconds, rest_ms = divmod(milliseconds, 1_000)
    message.nanos = rest_ms * 1_000_000


def fill_duration(message: Duration, milliseconds: int) -> None:
    """Write a duration that is not negative."""
    message.seconds, rest_ms = divmod(milliseconds, 1_000)
    message.nanos = rest_ms * 1_000_000
