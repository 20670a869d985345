"""The contract as descriptors: what the stubs hold now, and the image that was kept."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor_pb2, duration_pb2, struct_pb2, timestamp_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor import Descriptor, FileDescriptor

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "protos").glob("upbeat/v1/*.proto"))
# In the order of their own imports.
IMPORTED = (descriptor_pb2, duration_pb2, struct_pb2, timestamp_pb2, http_pb2, annotations_pb2)
KEPT_IMAGE = ROOT / "protos" / "upbeat.v1.binpb"


def own_files() -> list[FileDescriptor]:
    """The descriptor of every .proto file of ours, from its generated stub."""
    return [importlib.import_module(f"upbeat.v1.{source.stem}_pb2").DESCRIPTOR for source in SOURCES]


def present_image() -> descriptor_pb2.FileDescriptorSet:
    """The contract as it is now, with what it imports; comments are not part of it."""
    imported = [module.DESCRIPTOR for module in IMPORTED]
    image = descriptor_pb2.FileDescriptorSet()
    for file in [*imported, *own_files()]:
        file.CopyToProto(image.file.add())
        # protoc fills in the JSON names, the stubs leave them out.
        for message in file.message_types_by_name.values():
            _fill_json_names(message, _message_of(image.file[-1].message_type, message.name))
    return image


def kept_image() -> descriptor_pb2.FileDescriptorSet:
    """The contract as it was accepted last by ``make image``."""
    return descriptor_pb2.FileDescriptorSet.FromString(KEPT_IMAGE.read_bytes())


def messages(
    file: descriptor_pb2.FileDescriptorProto,
) -> Iterator[tuple[str, descriptor_pb2.DescriptorProto]]:
    """Every message of a file under its full name, nested ones and map entries included."""
    pending = [(f"{file.package}.{message.name}", message) for message in file.message_type]
    while pending:
        name, message = pending.pop()
        yield name, message
        pending += [(f"{name}.{nested.name}", nested) for nested in message.nested_type]


def enums(
    file: descriptor_pb2.FileDescriptorProto,
) -> Iterator[tuple[str, descriptor_pb2.EnumDescriptorProto]]:
    """Every enum of a file under its full name."""
    for enum in file.enum_type:
        yield f"{file.package}.{enum.name}", enum
    for name, message in messages(file):
        for enum in message.enum_type:
            yield f"{name}.{enum.name}", enum


def _fill_json_names(descriptor: Descriptor, message: descriptor_pb2.DescriptorProto) -> None:
    for field in message.field:
        field.json_name = descriptor.fields_by_name[field.name].camelcase_name
    for nested in message.nested_type:
        _fill_json_names(descriptor.nested_types_by_name[nested.name], nested)


def _message_of(
    candidates: Iterable[descriptor_pb2.DescriptorProto], name: str
) -> descriptor_pb2.DescriptorProto:
    return next(message for message in candidates if message.name == name)
