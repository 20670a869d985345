"""An error as JSON: one shape for what a service refuses and for what HTTP itself does not allow.

``{"error": {"code", "status", "message", "details"}}``: the HTTP code, the name of the
grpc one, words for a person, and the rich details (``google.rpc.ErrorInfo`` and
others) as protobuf JSON with their ``@type``.
"""

from __future__ import annotations

import http
import math
from typing import TYPE_CHECKING, Any, Final

import msgspec
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from starlette.responses import Response

from upbeat_server.engine import reasons
from upbeat_server.http.codes import HTTP_CODES
from upbeat_server.rpc.refusals import status_of

if TYPE_CHECKING:
    from starlette.types import Send

    from upbeat_server.engine.model import Refusal

JSON: Final = "application/json"
_PLAIN: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


class HttpError(Exception):
    """Ends a request: the code, the body, and headers besides those of every answer."""

    def __init__(
        self,
        code: int,
        status: str,
        message: str,
        *,
        details: Any = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.headers = headers or {}
        self.tree = {"code": code, "status": status, "message": message, "details": list(details)}

    @property
    def body(self) -> bytes:
        """The error as JSON."""
        return msgspec.json.encode({"error": self.tree})

    @property
    def response(self) -> Response:
        """The error as an answer of Starlette's."""
        return Response(self.body, self.code, {**self.headers, **_PLAIN}, JSON)

    async def send(self, send: Send) -> None:
        """Answer with it."""
        await send_json(send, self.body, self.code, self.headers)


def error_of_status(status: status_pb2.Status) -> HttpError:
    """A rich status of grpc."""
    code = next(code for code in StatusCode if code.value[0] == status.code)
    headers: dict[str, str] = {}
    http_code = HTTP_CODES[code]
    for detail in status.details:
        retry, info = error_details_pb2.RetryInfo(), error_details_pb2.ErrorInfo()
        if detail.Unpack(retry):
            delay = retry.retry_delay
            headers["retry-after"] = str(max(math.ceil(delay.seconds + delay.nanos / 1e9), 1))
        elif detail.Unpack(info) and info.reason == reasons.MESSAGE_TOO_LARGE:
            http_code = http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE.value
    if code is StatusCode.UNAUTHENTICATED:
        headers["www-authenticate"] = "Bearer"
    details = json_format.MessageToDict(status).get("details", [])
    return HttpError(http_code, code.name, status.message, details=details, headers=headers)


def error_of_refusal(refusal: Refusal) -> HttpError:
    """A refusal of ours."""
    return error_of_status(status_of(refusal))


def error_of_code(code: StatusCode, message: str) -> HttpError:
    """A status without details."""
    return HttpError(HTTP_CODES[code], code.name, message)


def not_found(path: str) -> HttpError:
    """There is nothing at this path."""
    return HttpError(
        404, StatusCode.NOT_FOUND.name, f"there is nothing at {path!r}: /openapi.json lists what there is"
    )


def not_allowed(method: str, allowed: list[str]) -> HttpError:
    """Something is there, but not for this method."""
    names = ", ".join(sorted(allowed))
    return HttpError(
        405,
        StatusCode.UNIMPLEMENTED.name,
        f"{method} is not possible here; {names} is",
        headers={"allow": names},
    )


async def send_json(send: Send, body: bytes, code: int = 200, headers: dict[str, str] | None = None) -> None:
    """Answer with JSON."""
    named = {"content-type": JSON, "content-length": str(len(body)), **_PLAIN, **(headers or {})}
    lines = [(name.encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": code, "headers": lines})
    await send({"type": "http.response.body", "body": body})
