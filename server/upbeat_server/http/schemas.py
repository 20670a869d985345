"""Messages as JSON schemas: what ``message_reader`` takes and ``message_writer`` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import FieldDescriptor as Field

from upbeat_server.http.comments import comments
from upbeat_server.http.message_reader import STRINGS, VALUE
from upbeat_server.http.scalars import FLOATS, INTEGER, WIDE, short_names

if TYPE_CHECKING:
    from collections.abc import Collection

    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

PREFIX: Final = "#/components/schemas/"

_SCALARS: Final[dict[int, dict[str, Any]]] = {
    Field.CPPTYPE_INT32: {
        "type": "integer",
        "minimum": -(1 << 31),
        "maximum": (1 << 31) - 1,
    },
    Field.CPPTYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": (1 << 32) - 1},
    Field.CPPTYPE_BOOL: {"type": "boolean"},
    Field.CPPTYPE_STRING: {"type": "string"},
}


class Schemas:
    """Schemas by the names of their types; those that others need come with them."""

    def __init__(self) -> None:
        self.named: dict[str, Any] = {}

    def of_message(self, message: Descriptor, without: Collection[str] = ()) -> dict[str, Any]:
        """A reference to the schema of a type. ``without`` are fields that come elsewhere."""
        name = _name(message.full_name)
        if name not in self.named:
            schema = self.named[name] = {"type": "object"}
            schema["description"] = self._described(message)
            schema["properties"] = {
                field.camelcase_name: self.of_field(field)
                for field in message.fields
                if field.name not in without
            }
            schema["additionalProperties"] = False
        return {"$ref": PREFIX + name}

    def of_field(self, field: FieldDescriptor) -> dict[str, Any]:
        """The schema of a field, with what the contract says about it."""
        text = comments().get(field.full_name, "")
        message = field.message_type
        if message is not None and message.GetOptions().map_entry:
            inner = self._one(message.fields_by_name["value"])
            schema: dict[str, Any] = {"type": "object", "additionalProperties": inner}
        elif field.is_repeated:
            schema = {"type": "array", "items": self._one(field)}
        else:
            schema = self._one(field)
        return {**schema, "description": text} if text else schema

    def _one(self, field: FieldDescriptor) -> dict[str, Any]:
        message = field.message_type
        if message is not None:
            written = STRINGS.get(message.full_name)
            if written is not None:
                return {"type": "string", "pattern": f"^{written.pattern}$"}
            return {} if message.full_name == VALUE else self.of_message(message)
        if field.enum_type is not None:
            return self._of_enum(field.enum_type)
        if field.cpp_type in WIDE:
            return {"type": ["string", "integer"], "format": "int64", "pattern": f"^{INTEGER}$"}
        if field.cpp_type in FLOATS:
            return {"type": "number", "format": "double"}
        if field.type == Field.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        return dict(_SCALARS[field.cpp_type])

    def _of_enum(self, enum: EnumDescriptor) -> dict[str, Any]:
        name = _name(enum.full_name)
        if name not in self.named:
            values = [
                f"- `{value.name}`: {comments().get(f'{enum.full_name}.{value.name}', '')}"
                for value in enum.values
            ]
            about = comments().get(enum.full_name, "")
            self.named[name] = {
                "type": "string",
                "enum": sorted(short_names(enum), key=lambda name: (-len(name), name)),
                "description": "\n".join([about, "", *values]).strip(),
            }
        return {"$ref": PREFIX + name}

    def _described(self, message: Descriptor) -> str:
        lines = [comments().get(message.full_name, "")]
        for oneof in message.oneofs:
            if len(oneof.fields) > 1:
                names = ", ".join(f"`{field.camelcase_name}`" for field in oneof.fields)
                lines.append(f"At most one of {names}: {comments().get(oneof.full_name, '')}")
        return "\n\n".join(line for line in lines if line)


def _name(full_name: str) -> str:
    return full_name.removeprefix("upbeat.v1.")
