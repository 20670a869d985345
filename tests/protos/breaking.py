"""What a change of the contract would break for a client of the kept one.

The main rules of ``buf breaking`` (FILE), for machines without node: nothing
that was there is gone, renamed, renumbered or of another type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from tests.protos.contract import enums, messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from google.protobuf.descriptor_pb2 import (
        DescriptorProto,
        EnumDescriptorProto,
        FileDescriptorProto,
        FileDescriptorSet,
        ServiceDescriptorProto,
    )

Element = TypeVar("Element")
Key = TypeVar("Key", int, str)


def breaking_changes(kept: FileDescriptorSet, present: FileDescriptorSet) -> list[str]:
    """A sentence for each break; empty if every client of ``kept`` is served by ``present``."""
    return [
        sentence
        for name, before, now in _pairs(kept.file, present.file, lambda file: file.name)
        for sentence in ([f"file {name} is gone"] if now is None else _file_breaks(before, now))
    ]


def _file_breaks(kept: FileDescriptorProto, present: FileDescriptorProto) -> Iterator[str]:
    if kept.package != present.package:
        yield f"file {kept.name}: package {kept.package} became {present.package}"
    messages_now, enums_now = dict(messages(present)), dict(enums(present))
    for name, message in messages(kept):
        if name not in messages_now:
            yield f"message {name} is gone"
        else:
            yield from _message_breaks(name, message, messages_now[name])
    for name, enum in enums(kept):
        if name not in enums_now:
            yield f"enum {name} is gone"
        else:
            yield from _enum_breaks(name, enum, enums_now[name])
    for name, service, service_now in _pairs(kept.service, present.service, lambda service: service.name):
        if service_now is None:
            yield f"service {name} is gone"
        else:
            yield from _service_breaks(service, service_now)


def _message_breaks(name: str, kept: DescriptorProto, present: DescriptorProto) -> Iterator[str]:
    for number, field, field_now in _pairs(kept.field, present.field, lambda field: field.number):
        label = f"field {name}.{field.name} = {number}"
        if field_now is None:
            yield f"{label} is gone"
        else:
            for trait, before, now in zip(
                _TRAITS, _traits(kept, field), _traits(present, field_now), strict=True
            ):
                if before != now:
                    yield f"{label}: {trait} {before} became {now}"
    for span in kept.reserved_range:
        free = span.start
        for span_now in sorted(present.reserved_range, key=lambda now: now.start):
            if span_now.start <= free < span_now.end:
                free = span_now.end
        if free < span.end:
            yield f"message {name}: numbers {span.start} to {span.end - 1} are reserved no more"


_TRAITS = ("name", "JSON name", "type", "cardinality", "presence", "oneof")


def _traits(message: DescriptorProto, field: FieldDescriptorProto) -> tuple[str, ...]:
    """What must stay of a field, in the order of ``_TRAITS``."""
    return (
        field.name,
        field.json_name,
        field.type_name or FieldDescriptorProto.Type.Name(field.type),
        FieldDescriptorProto.Label.Name(field.label),
        "explicit" if field.proto3_optional else "implicit",
        message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else "none",
    )


def _enum_breaks(name: str, kept: EnumDescriptorProto, present: EnumDescriptorProto) -> Iterator[str]:
    for number, value, value_now in _pairs(kept.value, present.value, lambda value: value.number):
        if value_now is None:
            yield f"value {name}.{value.name} = {number} is gone"
        elif value.name != value_now.name:
            yield f"value {name}.{value.name} = {number} became {value_now.name}"


def _service_breaks(kept: ServiceDescriptorProto, present: ServiceDescriptorProto) -> Iterator[str]:
    for name, method, method_now in _pairs(kept.method, present.method, lambda method: method.name):
        label = f"rpc {kept.name}.{name}"
        if method_now is None:
            yield f"{label} is gone"
        elif (method.input_type, method.client_streaming) != (
            method_now.input_type,
            method_now.client_streaming,
        ):
            yield f"{label} takes something else"
        elif (method.output_type, method.server_streaming) != (
            method_now.output_type,
            method_now.server_streaming,
        ):
            yield f"{label} answers something else"


def _pairs(
    kept: Iterable[Element], present: Iterable[Element], key: Callable[[Element], Key]
) -> Iterator[tuple[Key, Element, Element | None]]:
    """Each kept element with what has its key now."""
    present_by_key = {key(element): element for element in present}
    for element in kept:
        yield key(element), element, present_by_key.get(key(element))
