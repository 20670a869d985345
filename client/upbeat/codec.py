"""Payloads and the Python values in them.

The content type says what a payload is: `application/json` for dataclasses,
pydantic models, dicts and other JSON values (integers exact, never through a
double), `application/x-protobuf` for messages, `text/plain` for str and
`application/octet-stream` for bytes. None is JSON null. An empty payload
decodes to None where nothing else is asked for.
"""

from __future__ import annotations

import json
import types
import typing
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from upbeat.errors import CodecError
from upbeat.structure import from_json, to_json
from upbeat.v1 import payload_pb2

JSON = "application/json"
PROTOBUF = "application/x-protobuf"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"


def encode(value: Any, kind: Any = Any) -> payload_pb2.Payload:
    """A payload for `value`; with a `kind`, raises CodecError if the value is of another sort.

    A value of a JSON kind is encoded as it is: its shape is checked by the one
    who decodes it.
    """
    if isinstance(value, payload_pb2.Payload):
        return value
    if kind is not Any:
        _check(value, kind)
    if isinstance(value, Message):
        return payload_pb2.Payload(content_type=PROTOBUF, data=value.SerializeToString())
    if isinstance(value, bytes | bytearray | memoryview):
        return payload_pb2.Payload(content_type=BYTES, data=bytes(value))
    if type(value) is str:
        return payload_pb2.Payload(content_type=TEXT, data=_utf8(value))
    return payload_pb2.Payload(content_type=JSON, data=_json(value))


def _json(value: Any) -> bytes:
    try:
        text = json.dumps(to_json(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except RecursionError as error:
        raise CodecError("the value is nested too deeply, or within itself") from error
    except ValueError as error:
        raise (
            error if isinstance(error, CodecError) else CodecError(f"not encodable as JSON: {error}")
        ) from error
    return _utf8(text)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise CodecError(f"text is not valid Unicode: {error}") from error


def _check(value: Any, kind: Any) -> None:
    """Stop the commonest mistake early: a value of quite another class than the skill names."""
    if kind is None:
        kind = types.NoneType
    if not isinstance(kind, type) or typing.is_typeddict(kind) or isinstance(value, kind):
        return
    if kind is float and type(value) is int:
        return
    # Where the wire has one form for several classes, a near relative is fine; for the rest it is not.
    if (
        kind in (str, bytes, types.NoneType)
        or issubclass(kind, Message)
        or not isinstance(value, dict | list)
    ):
        raise CodecError(f"{type(value).__qualname__} where the skill names {kind.__qualname__}")


def decode(payload: payload_pb2.Payload, kind: Any = Any) -> Any:
    """The value of a payload as `kind`; raises CodecError where it does not fit."""
    if payload.WhichOneof("body") == "json":
        return from_json(json_format.MessageToDict(payload.json), kind)
    content_type = payload.content_type.partition(";")[0].strip().lower()
    data = payload.data
    if kind is bytes:
        return data
    if kind is payload_pb2.Payload:
        return payload
    if kind in (None, types.NoneType):
        return None
    if isinstance(kind, type) and issubclass(kind, Message):
        return _message(data, content_type, kind)
    if content_type.startswith("text/") and (kind is str or kind is Any):
        return _text(data)
    if content_type == JSON or content_type.endswith("+json"):
        return _from_json_bytes(data, kind)
    if kind is Any:
        return data if data or content_type else None
    raise CodecError(
        f"content type {content_type or BYTES!r} cannot be read as {name_of(kind)}; {JSON} is expected"
    )


def _from_json_bytes(data: bytes, kind: Any) -> Any:
    if hasattr(kind, "model_validate_json"):  # pydantic: strict about JSON, lax about Python values
        try:
            return kind.model_validate_json(data)
        except ValueError as error:
            raise CodecError(str(error)) from error
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"not valid JSON: {error}") from error
    return from_json(parsed, kind)


def _message(data: bytes, content_type: str, kind: type[Message]) -> Message:
    message = kind()
    try:
        if content_type == JSON:
            return json_format.Parse(data, message)
        message.ParseFromString(data)
    except (DecodeError, json_format.ParseError, UnicodeDecodeError) as error:
        raise CodecError(f"not a {kind.DESCRIPTOR.full_name}: {error}") from error
    return message


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CodecError(f"not valid UTF-8: {error}") from error


def name_of(kind: Any) -> str:
    """How a type is called in messages."""
    return getattr(kind, "__qualname__", None) or repr(kind)
