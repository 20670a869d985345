"""``/openapi.json``: the API as OpenAPI 3.1, from the descriptors and the comments of the contract."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from upbeat_server.http.comments import comments
from upbeat_server.http.errors import JSON
from upbeat_server.http.event_stream import EVENT_STREAM, LAST_EVENT_ID, RESUMED_FROM
from upbeat_server.http.message_reader import STRINGS
from upbeat_server.http.schemas import PREFIX, Schemas

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from starlette.requests import Request

    from upbeat_server.http.endpoint import Endpoint
    from upbeat_server.http.gateway import Resource

ABOUT: Final = """The API of upbeat, which coordinates fleets of AI agents: every call of the gRPC contract \
that does not stream in, under the same rules.

Names are read as written here and as the contract writes them (`page_size`), enums by full and by short \
names. Fields that hold their default are left out of answers. Unknown fields are errors. 64-bit integers \
are answered as strings. A path takes an id as one segment: write `/` in it as `%2F`."""

ANSWER: Final = "ErrorAnswer"
"""The name of its schema; ``Error`` is why an attempt failed."""
ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "description": "Why a call failed.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "status", "message", "details"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP code."},
                "status": {"type": "string", "description": "The gRPC code, `NOT_FOUND` for example."},
                "message": {"type": "string", "description": "Words for a person."},
                "details": {
                    "type": "array",
                    "description": "`google.rpc` details: ErrorInfo with a stable reason, BadRequest with "
                    "every bad field, RetryInfo, QuotaFailure.",
                    "items": {"type": "object", "required": ["@type"]},
                },
            },
        }
    },
}
_SECURITY: Final = {"token": {"type": "http", "scheme": "bearer", "description": "A token of the server."}}


def describe(resources: Mapping[str, Resource], version: str, *, has_tokens: bool) -> dict[str, Any]:
    """The document."""
    schemas = Schemas()
    paths = {
        path: {verb.lower(): _operation(endpoint, schemas) for verb, endpoint in resource.endpoints.items()}
        for path, resource in sorted(resources.items())
    }
    schemas.named[ANSWER] = ERROR
    services = {
        endpoint.descriptor.containing_service
        for resource in resources.values()
        for endpoint in resource.endpoints.values()
    }
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "upbeat", "version": version, "description": ABOUT},
        "tags": [
            {"name": service.name, "description": comments().get(service.full_name, "")}
            for service in sorted(services, key=lambda service: service.name)
        ],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.named.items())),
            "responses": {
                "Error": {
                    "description": "An error. `Retry-After` says when to try again where that helps.",
                    "headers": {"Retry-After": {"schema": {"type": "string", "pattern": "^[0-9]+$"}}},
                    "content": {JSON: {"schema": {"$ref": PREFIX + ANSWER}}},
                }
            },
        },
    }
    if has_tokens:
        document["components"]["securitySchemes"] = _SECURITY
        document["security"] = [{"token": []}]
    return document


def description_route(resources: Mapping[str, Resource], version: str, *, has_tokens: bool) -> Route:
    """The route of the document, which holds no secret and needs no token. It is made when first wanted."""
    made: list[tuple[bytes, str]] = []

    async def openapi(request: Request) -> Response:
        if not made:
            body = msgspec.json.encode(describe(resources, version, has_tokens=has_tokens))
            made.append((body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'))
        body, etag = made[0]
        headers = {"etag": etag, "cache-control": "no-cache", "x-content-type-options": "nosniff"}
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=JSON)

    return Route("/openapi.json", openapi)


def _operation(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    method = endpoint.descriptor
    text = comments().get(method.full_name, "")
    names = endpoint.rule.template.variables
    answer = schemas.of_message(method.output_type)
    operation: dict[str, Any] = {
        "operationId": method.name,
        "tags": [method.containing_service.name],
        "summary": _summary(text.removeprefix(f"{method.name} ")),
        "description": text,
        "parameters": [_path_parameter(method.input_type, name, schemas) for name in names],
        "responses": {
            "200": _events(answer) if endpoint.streams else _answer(answer),
            "4XX": {"$ref": "#/components/responses/Error"},
            "5XX": {"$ref": "#/components/responses/Error"},
        },
    }
    if endpoint.rule.takes_body:
        request = schemas.of_message(method.input_type, without=names)
        operation["requestBody"] = {"content": {JSON: {"schema": request}}}
    else:
        operation["parameters"] += _query_parameters(method.input_type, names, schemas)
    if endpoint.streams and RESUMED_FROM in method.input_type.fields_by_name:
        operation["parameters"].append(_RESUME)
    return operation


def _summary(text: str) -> str:
    """What a comment begins with, up to the first pause."""
    first = re.split(r"[.:;]", text, maxsplit=1)[0]
    return first[:1].upper() + first[1:]


_RESUME: Final = {
    "name": LAST_EVENT_ID,
    "in": "header",
    "description": f"What a browser sends when it reconnects; stands for `{RESUMED_FROM}`.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
}


def _answer(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "OK.", "content": {JSON: {"schema": schema}}}


def _events(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": "Server-sent events. The data of each is a message; its id, where there is one, is "
        "what to resume from. An event `error` with an ErrorAnswer is the last one of a stream that failed.",
        "content": {
            EVENT_STREAM: {
                "schema": {"type": "string", "contentMediaType": JSON, "contentSchema": schema},
            }
        },
    }


def _path_parameter(message: Descriptor, name: str, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.of_field(message.fields_by_name[name])
    text = schema.pop("description", "")
    return {"name": name, "in": "path", "required": True, "description": text, "schema": schema}


def _query_parameters(message: Descriptor, without: list[str], schemas: Schemas) -> list[dict[str, Any]]:
    """A parameter for each field that a query can set, fields of messages with dots."""
    return [
        {
            "name": name,
            "in": "query",
            "description": comments().get(field.full_name, ""),
            "schema": {key: value for key, value in schemas.of_field(field).items() if key != "description"},
        }
        for name, field in _texts(message, "")
        if name not in without and field.name not in without
    ]


def _texts(message: Descriptor, path: str) -> Iterator[tuple[str, FieldDescriptor]]:
    for field in message.fields:
        inner = field.message_type
        if inner is None or inner.full_name in STRINGS:
            yield path + field.camelcase_name, field
        elif not field.is_repeated and not inner.GetOptions().map_entry:
            yield from _texts(inner, f"{path}{field.camelcase_name}.")
