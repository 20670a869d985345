"""The page that tells how to write an agent: its figures, frames and final errors are those of the server."""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import pytest

from upbeat.connection import is_worth_reopening
from upbeat.errors import Refused
from upbeat.v1 import agent_service_pb2
from upbeat_server.config import Connections
from upbeat_server.engine.limits import Limits
from upbeat_server.rpc import agent_stream, door, frames
from upbeat_server.rpc.server import SERVER_OPTIONS
from upbeat_server.runtime.bounds import RuntimeBounds

PAGE = (Path(__file__).parents[2] / "protos" / "README.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
GRACES, BOUNDS = Limits().graces, RuntimeBounds()
OF_THE_BUS = {"publishes", "subscribes", "delivery_acks", "deliveries", "publish_acks", "subscribe_acks"}
RARE = {"capability_changes"}
KIB, MIB = 1 << 10, 1 << 20


def names_in_tables() -> set[str]:
    """What stands in the first column of a table."""
    return {
        name
        for row in re.findall(r"^\| (`.+?) \|", PAGE, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }


@pytest.mark.parametrize(
    ("words", "figure", "unit"),
    [
        (r"first, within (\d+) s", agent_stream.HELLO_WAIT_S, 1),
        (r"unanswered for (\d+) s it is taken back", GRACES.ack_timeout_ms, 1_000),
        (r"Silent for (\d+) s it gets nothing new", GRACES.suspect_after_ms, 1_000),
        (r"for (\d+) s its leases are lost", GRACES.lease_timeout_ms, 1_000),
        (r"outlive a broken stream by (\d+) s", GRACES.disconnect_grace_ms, 1_000),
        (r"a restart of the server by (\d+) s", GRACES.adoption_grace_ms, 1_000),
        (r"at most ([\d,]+) bytes of words", frames.MESSAGE_BYTES_MAX, 1),
        (r"a chunk of (\d+) KiB", BOUNDS.payloads.chunk_bytes_max, KIB),
        (r"Receive up to (\d+) MiB", door.ANSWER_BYTES_MAX, MIB),
        (r"`frame_bytes_max` \((\d+) MiB\)", BOUNDS.payloads.frame_bytes_max, MIB),
        (r"([\d,]+) items of a kind", frames.ITEMS_MAX, 1),
        (r"`output_bytes_max` \((\d+) MiB", BOUNDS.payloads.output_bytes_max, MIB),
        (r"are read (\d+) a second", BOUNDS.streams.idle_frames_per_second, 1),
        (r"takes nothing for (\d+) s ends", BOUNDS.streams.write_ms, 1_000),
        (r"A connection carries (\d+) streams", Connections().streams_max, 1),
        (
            r"not more often than every (\d+) s",
            dict(SERVER_OPTIONS)["grpc.http2.min_ping_interval_without_data_ms"],
            1_000,
        ),
    ],
)
def test_a_figure_is_the_servers(words: str, figure: float, unit: int) -> None:
    (told,) = re.findall(words, WORDS)
    assert int(told.replace(",", "")) * unit == figure


def test_every_field_of_a_frame_is_told_of() -> None:
    both = (agent_service_pb2.ConnectRequest, agent_service_pb2.ConnectResponse)
    fields = {field.name for message in both for field in message.DESCRIPTOR.fields}
    assert names_in_tables() == fields - OF_THE_BUS - RARE


def test_the_statuses_that_are_called_final_are_those_that_the_sdk_gives_up_on() -> None:
    told = WORDS.split("**Final** are")[1].split("Every other end")[0]
    codes = {code.name for code in grpc.StatusCode}
    final = {
        code
        for code in codes
        if not is_worth_reopening(Refused("no", code=code, reason="", retry_after=None))
    }
    rare = {"NOT_FOUND", "ALREADY_EXISTS", "OUT_OF_RANGE", "DATA_LOSS"}  # No stream of an agent ends so.
    assert set(re.findall(r"[A-Z]+(?:_[A-Z]+)+|UNAUTHENTICATED|UNIMPLEMENTED", told)) == final - rare
    assert not is_worth_reopening(Refused("no", code="ABORTED", reason="FENCED", retry_after=None))
    assert is_worth_reopening(Refused("no", code="ABORTED", reason="SILENT", retry_after=None))
    assert is_worth_reopening(Refused("no", code="RESOURCE_EXHAUSTED", reason="", retry_after=1.0))
