"""Protobuf written by hand, for what no library would write."""

from __future__ import annotations


def varint(number: int) -> bytes:
    """A number in as few bytes as it needs."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def nested(numbers: tuple[int, ...], levels: int) -> bytes:
    """Messages within messages: these fields in turn, the innermost one empty; outermost first."""
    heads: list[bytes] = []
    size = 0
    for level in reversed(range(levels)):
        head = varint(numbers[level % len(numbers)] << 3 | 2) + varint(size)
        heads.append(head)
        size += len(head)
    return b"".join(reversed(heads))
