"""Messages of arbitrary content, made from the descriptors of the contract.

Values are drawn from what is odd (extreme numbers, control characters, numbers that are
none) and from what gets further: ids that exist, types that agents offer. What exists
when a message is sent stands in it under a name such as ``@task`` and is filled in then.
"""

from __future__ import annotations

import os
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("BAD_INPUT_EXAMPLES", "0"))
"""Examples of each test; 0: the few of a default run, the same ones each time."""
DEPTH_MAX = 5
FIELDS_MAX = 6
WORK = "generated.work"

TASK, LEASE, SESSION, TOKEN = "@task", "@lease", "@session", "@token"

_ODD = (
    *("", "a\nb", "\r", "\0", "\x1b[2J\x07", "\u202egnp.exe", "\u2028", "\ufffe", "é", "😀" * 70),
    *("../../etc/passwd", "x" * 129, "x" * 300, "a" * 1_500, "%s%n{0}", "'; DROP TABLE task; --"),
    *("-1", "nan", "__class__", "*"),
)
_KNOWN: dict[str, tuple[str, ...]] = {
    "namespace": ("", "default", "generated"),
    "task_id": (TASK, TASK, "f" * 16, "0" * 15 + "1"),
    "parent_task_id": (TASK, "f" * 16),
    "lease_id": (LEASE, LEASE, "0" * 19 + "1", "f" * 20),
    "held_leases": (LEASE, "0" * 19 + "1"),
    "session_id": (SESSION, "", "0" * 15 + "1"),
    "agent_id": ("g1", "g2", "framed"),
    "type": (WORK, WORK, "other.work"),
    "capability": (WORK, "other.work"),
    "capabilities": (WORK, "other.work", "gpu"),
    "required_capabilities": ("gpu", WORK),
    "request_id": ("r1", "r2", "r3"),
    "attach": ("r1", "r2", "r9"),
    "finished_acks": ("r1", "r2"),
    "page_token": (TOKEN, ""),
    "order_by": ("", "create_time desc"),
    "selector": ("", 'labels.a == "x"', "labels.a.startsWith('x') || size(labels) > 3", "((((", "labels[0]"),
    "accept": ("output", "output.a > 1", "((", "labels.a"),
    "map_over": ("", "/a"),
    "items_pointer": ("", "/a"),
    "pointer": ("", "/a/0"),
    "vote": ("", "/a"),
    "score": ("/a", ""),
    "filter": (
        "",
        "state = QUEUED",
        f"type = {WORK}",
        'labels.a = "x" AND priority = HIGH',
        "create_time >= 0",
    ),
    "service": ("", "upbeat.v1.TaskService"),
    "file_containing_symbol": ("upbeat.v1.TaskService", "upbeat.v1.TaskSpec.type"),
    "file_by_filename": ("upbeat/v1/task.proto",),
    "containing_type": ("upbeat.v1.TaskSpec", "google.protobuf.FieldOptions"),
    "all_extension_numbers_of_type": ("google.protobuf.FieldOptions",),
}
_RESERVED = "ordinary"
_TEXT = st.one_of(
    st.sampled_from(_ODD),
    st.text(st.characters(codec="utf-8"), max_size=24),
)
_INTEGERS = {
    bits: st.one_of(
        st.sampled_from((0, 1, 2, 1_000)),
        st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1),
        st.sampled_from((-1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1)))),
    )
    for bits in (32, 64)
}
_UNSIGNED = {bits: st.integers(0, 2**bits - 1) for bits in (32, 64)}
_FLOATS = st.one_of(st.sampled_from((0.0, 1.0, 0.5)), st.floats(width=64))
_BYTES = st.one_of(st.binary(max_size=64), st.sampled_from((b"", b"\xff" * 8, bytes(2_000))))

_F: Any = FieldDescriptor
_SIGNED_BITS = {
    _F.TYPE_INT32: 32, _F.TYPE_SINT32: 32, _F.TYPE_SFIXED32: 32,
    _F.TYPE_INT64: 64, _F.TYPE_SINT64: 64, _F.TYPE_SFIXED64: 64,
}  # fmt: skip
_UNSIGNED_BITS = {_F.TYPE_UINT32: 32, _F.TYPE_FIXED32: 32, _F.TYPE_UINT64: 64, _F.TYPE_FIXED64: 64}


def budget(examples: int) -> settings:
    """Settings of a test: so many examples by default, the same ones in each run."""
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


@st.composite
def messages(draw: st.DrawFn, descriptor: Descriptor, depth: int = 0) -> Message:
    """A message of this type."""
    message = GetMessageClass(descriptor)()
    fields = list(descriptor.fields)
    chosen = draw(st.lists(st.sampled_from(fields), unique=True, max_size=FIELDS_MAX)) if fields else []
    if depth >= DEPTH_MAX:
        chosen = [field for field in chosen if field.message_type is None]
    for field in chosen:
        _fill(draw, message, field, depth)
    return message


def _fill(draw: st.DrawFn, message: Message, field: FieldDescriptor, depth: int) -> None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _fill_map(draw, message, field, depth)
    elif field.message_type is not None:
        wanted = draw(st.integers(0, 3)) if field.is_repeated else 1
        for _ in range(wanted):
            inner = draw(messages(field.message_type, depth + 1))
            place = getattr(message, field.name)
            if field.is_repeated:
                place.add().CopyFrom(inner)
            else:
                place.CopyFrom(inner)
    elif field.is_repeated:
        getattr(message, field.name).extend(draw(st.lists(_scalar(field), max_size=4)))
    else:
        setattr(message, field.name, draw(_scalar(field)))


def _fill_map(draw: st.DrawFn, message: Message, field: FieldDescriptor, depth: int) -> None:
    place = getattr(message, field.name)
    value = field.message_type.fields_by_name["value"]  # type: ignore[union-attr]
    for key in draw(st.lists(st.one_of(st.sampled_from(("a", "b")), _TEXT), max_size=3)):
        if value.message_type is not None:
            place[key].CopyFrom(draw(messages(value.message_type, depth + 2)))
        else:
            place[key] = draw(_scalar(value))


def _scalar(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    kind = field.type
    if kind == _F.TYPE_STRING:
        known = _KNOWN.get(field.name)
        return _TEXT if known is None else st.one_of(st.sampled_from(known), st.sampled_from(known), _TEXT)
    if kind == _F.TYPE_BYTES:
        return _BYTES
    if kind == _F.TYPE_BOOL:
        return st.booleans()
    if kind == _F.TYPE_ENUM:
        numbers = [value.number for value in field.enum_type.values]  # type: ignore[union-attr]
        return st.sampled_from((*numbers, *numbers, max(numbers) + 1, -1, 2**31 - 1))
    if kind in (_F.TYPE_DOUBLE, _F.TYPE_FLOAT):
        return _FLOATS
    if kind in _SIGNED_BITS:
        return _INTEGERS[_SIGNED_BITS[kind]]
    return _UNSIGNED[_UNSIGNED_BITS[kind]]


def resolve(message: Message, known: dict[str, str]) -> Message:
    """Fill in what exists by now; nobody takes the ordinary agent's place."""
    for field, value in message.ListFields():
        if field.message_type is not None:
            if field.message_type.GetOptions().map_entry:
                continue
            for inner in value if field.is_repeated else [value]:
                resolve(inner, known)
        elif field.type == _F.TYPE_STRING:
            if field.is_repeated:
                value[:] = [known.get(text, text) for text in value]
            else:
                text = known.get(value, value)
                setattr(message, field.name, "g1" if text.startswith(_RESERVED) else text)
    return message


@st.composite
def mutated(draw: st.DrawFn, valid: tuple[bytes, ...]) -> bytes:
    """Bytes of valid messages, cut, flipped, spliced, repeated and filled up."""
    data = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(1, 4))):
        size = len(data)
        at, count = draw(st.integers(0, size)), draw(st.integers(0, 12))
        match draw(st.sampled_from(("cut", "flip", "splice", "repeat", "fill", "drop"))):
            case "cut":
                data = data[:at]
            case "flip" if size:
                at = min(at, size - 1)
                data = data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
            case "splice":
                other = draw(st.sampled_from(valid))
                data = data[:at] + other[draw(st.integers(0, len(other))) :]
            case "repeat":
                data = data[:at] + data[at : at + count] * draw(st.integers(2, 40)) + data[at + count :]
            case "fill":
                data = data[:at] + draw(st.binary(max_size=12)) + data[at:]
            case "drop":
                data = data[:at] + data[at + count :]
    return data
