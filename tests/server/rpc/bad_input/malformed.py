"""Bytes that are no message, or that are one and should not have been built."""

from __future__ import annotations

import random

from tests.server.rpc.bad_input.case import (
    AGENTS,
    BATCH,
    CONNECT,
    GET,
    INVALID,
    LIST,
    STREAM,
    SUBMIT,
    WATCH,
    Case,
    Code,
    case,
    hello,
    invalid,
)
from tests.server.rpc.bad_input.wire_bytes import field, nested

REFLECTION = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
GOOD_SPEC = field(2, field(1, b"bad.work"))


def json_levels(levels: int) -> bytes:
    """A spec whose JSON input is nested this deep: lists of one value each."""
    return field(2, field(1, b"bad.work") + field(2, field(3, nested((6, 1), 2 * levels))))


def garbage(name: str, method: str, data: bytes) -> Case:
    return case(name, method, data, INVALID, "MALFORMED_MESSAGE")


CASES = [
    garbage("truncated", SUBMIT, b"\x12\x10\x0a"),
    garbage("cut in a number", SUBMIT, b"\x12\x80"),
    garbage("cut after a tag", SUBMIT, b"\x12"),
    garbage("invalid UTF-8", SUBMIT, field(2, field(1, b"\xff\xfe"))),
    garbage("half of a surrogate pair", SUBMIT, field(2, field(1, b"\xed\xa0\x80"))),
    garbage("overlong UTF-8", SUBMIT, field(2, field(1, b"\xc0\xaf"))),
    garbage("varint of eleven bytes", SUBMIT, b"\x80" * 11 + b"\x01"),
    garbage("field 0", SUBMIT, b"\x02\x00"),
    garbage("wire type 6", SUBMIT, b"\x0e\x00"),
    garbage("wire type 7", SUBMIT, b"\x0f\x00"),
    garbage("group without end", SUBMIT, b"\x0b"),
    garbage("end without group", SUBMIT, b"\x0c"),
    garbage("length of 2^63", SUBMIT, b"\x12" + b"\xff" * 9 + b"\x00"),
    garbage("nested 101 levels", SUBMIT, json_levels(101)),
    garbage("nested 100,000 levels", SUBMIT, json_levels(100_000)),
    garbage("groups of 1,000 levels", SUBMIT, b"\x3b" * 1_000 + b"\x3c" * 1_000),
    garbage(
        "a collaboration of 10,000 levels",
        SUBMIT,
        field(2, nested((19, 2, 1), 30_000)),
    ),
    garbage("64 KiB of noise", SUBMIT, b"\xff" + random.Random("noise").randbytes(65_536)),
    garbage("text instead of a message", SUBMIT, b"GET / HTTP/1.1\r\n\r\n"),
    garbage("JSON instead of a message", SUBMIT, b'{"spec": {"type": "echo"}}'),
    garbage("noise where a stream begins", STREAM, b"\xff" * 9),
    garbage("noise where an agent begins", CONNECT, b"\x0a\xff"),
    case(
        "noise after a good hello",
        CONNECT,
        (hello(), b"\x0a\xff"),
        INVALID,
        "MALFORMED_MESSAGE",
    ),
    case(
        "noise after a good frame",
        STREAM,
        (b"\x12\x12" + field(2, field(1, b"bad.work")) + field(3, b"r1"), b"\xff"),
        INVALID,
        "MALFORMED_MESSAGE",
    ),
    garbage("noise to a watch", WATCH, b"\x0a\xff"),
    garbage("noise to reflection", REFLECTION, b"\x0a\xff"),
    garbage("noise to health", "grpc.health.v1.Health/Check", b"\x0a\xff"),
    garbage("noise to channelz", "grpc.channelz.v1.Channelz/GetServers", b"\x0a\xff"),
    # Messages that are right and too much.
    invalid("524,288 empty requests", BATCH, b"\x12\x00" * 524_288, "requests"),
    invalid("524,288 empty requests on a stream", STREAM, b"\x12\x00" * 524_288, "requests"),
    invalid("524,288 empty results", CONNECT, b"\x2a\x00" * 524_288, "results"),
    invalid(
        "200,000 equal map keys",
        SUBMIT,
        field(2, field(1, b"bad.work") + field(8, field(1, b"k")) * 200_000),
        "labels",
    ),
    invalid("200,000 limits", SUBMIT, field(2, field(17, b"") * 200_000), "limits"),
    case("130,000 unknown fields", SUBMIT, b"\x98\x06\x01" * 130_000 + GOOD_SPEC, INVALID, "INVALID_FIELD"),
    invalid("spec that is a number", SUBMIT, b"\x10\x01", "spec"),
    case(
        "65 KiB to a call without payloads",
        GET,
        field(1, b"x" * 65_536),
        Code.RESOURCE_EXHAUSTED,
        "MESSAGE_TOO_LARGE",
    ),
    case("65 KiB of filter", LIST, field(2, b"x" * 65_536), Code.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE"),
    case(
        "65 KiB of states",
        f"{AGENTS}ListAgents",
        field(2, b"\x01" * 65_537),
        Code.RESOURCE_EXHAUSTED,
        "MESSAGE_TOO_LARGE",
    ),
    # grpc itself refuses what is larger than any message.
    case("9 MiB", SUBMIT, field(2, field(2, field(2, bytes(9 << 20)))), Code.RESOURCE_EXHAUSTED),
    case("9 MiB on a stream", STREAM, field(2, bytes(9 << 20)), Code.RESOURCE_EXHAUSTED),
    case("9 MiB of an agent", CONNECT, field(5, bytes(9 << 20)), Code.RESOURCE_EXHAUSTED),
]
