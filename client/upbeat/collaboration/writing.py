"""Writes options into messages of the contract, as their fields say."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format, message_factory

from upbeat import codec
from upbeat.collaboration.steps import as_step
from upbeat.collaboration.terms import Budget, StopWhen
from upbeat.spec import EnumNames, duration_of, enum_of
from upbeat.structure import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.descriptor import FieldDescriptor


def write_terms(message: Any, options: Mapping[str, Any]) -> None:
    """Set the fields that the options name; None leaves one unset.

    Raises TypeError or ValueError, which name the option, and CodecError.
    """
    for name, value in options.items():
        if value is None:
            continue
        field = message.DESCRIPTOR.fields_by_name[name]
        if field.enum_type is not None:
            names = EnumNames(field.enum_type)
            setattr(message, name, enum_of(names, names.prefix, value, name))
        elif field.message_type is not None:
            getattr(message, name).CopyFrom(_message_of(field, value))
        elif name == "choices":
            message.choices.extend(choice_texts(value))
        else:
            _set(message, name, value)


def choice_texts(values: Iterable[Any]) -> list[str]:
    """Votes as the contract compares them: text as it is, anything else as its JSON."""
    if isinstance(values, str):
        raise TypeError(f"choices={values!r}: a list of the valid votes is expected")
    return [
        value if type(value) is str else json.dumps(to_json(value), ensure_ascii=False, separators=(",", ":"))
        for value in values
    ]


def _message_of(field: FieldDescriptor, value: Any) -> Any:
    kind = field.message_type.full_name  # type: ignore[union-attr]  # the caller has looked
    if kind == "google.protobuf.Duration":
        return duration_of(value, field.name)
    if kind == "upbeat.v1.TaskSpec":
        return as_step(value).message
    if kind == "upbeat.v1.Payload":
        return codec.encode(value)
    message: Any = message_factory.GetMessageClass(field.message_type)()  # type: ignore[arg-type]
    if isinstance(value, StopWhen):
        message.pointer = value.pointer
        json_format.ParseDict(to_json(value.equals), message.equals)
        return message
    if isinstance(value, Budget):
        write_terms(message, asdict(value))
        return message
    expected = {"upbeat.v1.StopWhen": "StopWhen", "upbeat.v1.Budget": "Budget"}.get(kind, kind)
    raise TypeError(f"{field.name}={value!r}: {expected}(...) is expected")


def _set(message: Any, name: str, value: Any) -> None:
    try:
        setattr(message, name, value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}={value!r}: {error}") from None
