"""What the contract says about itself: the comments of its .proto files, by what they stand at.

The build puts the contract with its comments beside this file; the stubs hold none.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

IMAGE: Final = "contract.binpb"

_File = descriptor_pb2.FileDescriptorProto
_LISTS: Final = {
    _File: {4: "message_type", 5: "enum_type", 6: "service"},
    descriptor_pb2.DescriptorProto: {2: "field", 3: "nested_type", 4: "enum_type", 8: "oneof_decl"},
    descriptor_pb2.EnumDescriptorProto: {2: "value"},
    descriptor_pb2.ServiceDescriptorProto: {2: "method"},
}
"""Which lists of named elements a path of a location leads through, by their numbers."""


@cache
def comments() -> dict[str, str]:
    """The comments by full name, of enum values below that of the enum. A paragraph is one line."""
    image = descriptor_pb2.FileDescriptorSet.FromString(files(__package__).joinpath(IMAGE).read_bytes())
    return {name: text for file in image.file for name, text in _of_file(file)}


def _of_file(file: _File) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        name = _name_at(file, location.path) if location.leading_comments else None
        if name is not None:
            yield f"{file.package}.{name}", _plain(location.leading_comments)


def _name_at(file: _File, path: Sequence[int]) -> str | None:
    """The name of the element at a path, below the package; None for what has no name."""
    element, names = file, []
    for number, index in zip(path[::2], path[1::2], strict=False):
        member = _LISTS.get(type(element), {}).get(number)
        if member is None:
            return None
        element = getattr(element, member)[index]
        names.append(element.name)
    return ".".join(names) if names and len(path) % 2 == 0 else None


def _plain(comment: str) -> str:
    paragraphs = "\n".join(line.strip() for line in comment.splitlines()).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).strip()
