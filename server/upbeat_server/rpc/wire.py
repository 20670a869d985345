"""Counts what a large message holds before any object is built from it.

A message of 1 MiB can hold half a million empty sub-messages: parsing it takes
tens of megabytes and a pause of the whole server, and map keys that repeat
vanish in the parsed message, so that no later check would see them. The parser
itself refuses everything that is not protobuf (over-long varints, field 0, open
groups, bad UTF-8, more than 100 levels); this only bounds what it is given.

Rules: a message up to ``SCAN_FREE_BYTES`` is not looked at: parsing the worst takes
10 ms, and the frames of busy streams are smaller. The scan is never more permissive
than the parser: where it stops it refuses. It costs about 0.3 us a field and never
copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from upbeat_server.engine import reasons
from upbeat_server.engine.model import Refusal
from upbeat_server.runtime.refused import Refused

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

SCAN_FREE_BYTES: Final = 256 << 10
FIELDS_MAX: Final = 120_000
"""Fields of a message at all levels together; 1,000 submissions with everything set have 95,000."""
REPEATS_MAX: Final = 20_000
"""Times that one field may occur in one message; the largest list of the contract."""
MAP_ENTRIES_MAX: Final = 1_024
DEPTH_MAX: Final = 100
"""Levels of messages, as the parser has it."""

_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)


class Plan(msgspec.Struct):
    """What the scan knows of one message type."""

    children: dict[int, Plan]  # By field number: the messages that are looked into.
    repeats: dict[int, int]  # By field number: a bound other than REPEATS_MAX.
    names: dict[int, str]


_NO_PLAN = Plan({}, {}, {})


def plan_of(descriptor: Descriptor, known: dict[str, Plan] | None = None) -> Plan:
    """The plan of a message type and of all below it; types may nest in themselves."""
    known = {} if known is None else known
    plan = known.get(descriptor.full_name)
    if plan is not None:
        return plan
    plan = known[descriptor.full_name] = Plan({}, {}, {})
    for field in descriptor.fields:
        plan.names[field.number] = field.name
        if field.message_type is None:
            continue
        if _is_label_map(field.message_type):
            plan.repeats[field.number] = MAP_ENTRIES_MAX
        elif _can_grow(field.message_type):
            plan.children[field.number] = plan_of(field.message_type, known)
    return plan


def check(message: bytes, plan: Plan) -> None:
    """Raise Refused if the message holds too much or is not protobuf at a level of its own."""
    if len(message) <= SCAN_FREE_BYTES:
        return
    try:
        _scan(message, plan)
    except IndexError:
        raise malformed("a length or a number runs past the end of the message") from None


def malformed(what: str) -> Refused:
    """Refusal of bytes that are not a message."""
    return Refused(Refusal(reasons.MALFORMED_MESSAGE, f"the message cannot be read: {what}"))


def _can_grow(message: Descriptor) -> bool:
    """Whether its bytes can become many objects; what holds a few numbers and texts cannot."""
    return any(field.is_repeated or field.message_type is not None for field in message.fields)


def _is_label_map(entry: Descriptor) -> bool:
    """Maps of ours are small; a JSON object (``google.protobuf.Struct``) may be large."""
    return bool(entry.GetOptions().map_entry) and entry.file.package != "google.protobuf"


def _scan(data: bytes, plan: Plan) -> None:
    """One loop with its state in locals: a call or an object for every field would double its cost."""
    position = fields = group = 0
    end = len(data)
    children = plan.children
    counts: dict[int, int] = {}
    above: list[tuple[Plan, int, int, dict[int, int]]] = []
    while True:
        if position >= end:
            if position > end or group:
                raise malformed("a field runs past the end of its message")
            if not above:
                return
            plan, end, group, counts = above.pop()
            children = plan.children
            continue
        tag = data[position]
        position += 1
        if tag > 0x7F:
            tag, position = _varint(data, position - 1)
        number, kind = tag >> 3, tag & 7
        fields += 1
        count = counts[number] = counts.get(number, 0) + 1
        if count > MAP_ENTRIES_MAX or fields > FIELDS_MAX:
            _refuse_excess(plan, number, count, fields)
        if kind == _BYTES:
            size = data[position]
            position += 1
            if size > 0x7F:
                size, position = _varint(data, position - 1)
            if position + size > end:
                raise malformed("a length runs past the end of its message")
            child = children.get(number)
            if child is None or size == 0:
                position += size
            else:
                above.append((plan, end, group, counts))
                plan, end, group, counts = child, position + size, 0, {}
                children = plan.children
        elif kind == _VARINT:
            if data[position] > 0x7F:
                _, position = _varint(data, position)
            else:
                position += 1
        elif kind == _FIXED32:
            position += 4
        elif kind == _FIXED64:
            position += 8
        elif kind == _GROUP:
            above.append((plan, end, group, counts))
            plan, group, counts = _NO_PLAN, number, {}
            children = plan.children
        elif kind == _GROUP_END and group and group == number:
            plan, end, group, counts = above.pop()
            children = plan.children
        else:
            raise malformed(f"a field has the impossible kind {kind}")
        if len(above) > DEPTH_MAX:
            raise malformed(f"messages nest deeper than {DEPTH_MAX} levels")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:  # Ten bytes are the longest that there is.
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise malformed("a number has more than ten bytes")


def _refuse_excess(plan: Plan, number: int, count: int, fields: int) -> None:
    name = plan.names.get(number, f"#{number}")
    limit = plan.repeats.get(number, REPEATS_MAX)
    if count > limit:
        text = f"more than {limit:,} entries in one message: send several messages"
        raise Refused(Refusal(reasons.INVALID_FIELD, f"{name} has {text}", violations=((name, text),)))
    if fields > FIELDS_MAX:
        raise Refused(
            Refusal(
                reasons.INVALID_FIELD,
                f"the message has more than {FIELDS_MAX:,} fields: send several messages, "
                "and large JSON as bytes",
            )
        )
