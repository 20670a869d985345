"""The dashboard at ``/``: the files of ``page/`` as they are in the package, read once.

There is no build step and nothing comes from elsewhere, so the policy that is sent
along can be the strictest: scripts, styles and calls of this origin only, nothing
inline. Every file is revalidated by its ETag: after an upgrade a page never mixes
modules of two versions, and an unchanged file costs a header. The files hold no
secret and need no token; what they show is asked of the API, which does.
"""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import msgspec
from starlette.datastructures import Headers
from starlette.responses import Response

from upbeat_server.http.errors import not_allowed, not_found

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    from starlette.types import Receive, Scope, Send

CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is served. Anything else in the folder, such as a licence, is for readers of the package."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types lit-html"
)

HEADERS: Final = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
    "vary": "accept-encoding",
}


class _File(msgspec.Struct, frozen=True):
    """One file, ready to be sent."""

    content_type: str
    body: bytes
    packed: bytes  # The same, gzipped.
    etag: str


class Dashboard:
    """Answers GET and HEAD for the files of the page; ``/`` is ``index.html``."""

    def __init__(self) -> None:
        page = files("upbeat_server.http").joinpath("page")
        self._files = {path: _read(path, file) for path, file in _walk(page, "/")}
        self._files["/"] = self._files["/index.html"]

    @property
    def paths(self) -> frozenset[str]:
        """Everything that is served."""
        return frozenset(self._files)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        await self._answer(scope)(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            return not_allowed(scope["method"], ["GET", "HEAD"]).response
        file = self._files.get(scope["path"])
        if file is None:
            return not_found(scope["path"]).response
        asked = Headers(scope=scope)
        headers = {**HEADERS, "etag": file.etag, "content-type": file.content_type}
        known = {tag.strip().removeprefix("W/") for tag in asked.get("if-none-match", "").split(",")}
        if file.etag.removeprefix("W/") in known or "*" in known:
            return Response(status_code=304, headers=headers)
        if "gzip" in asked.get("accept-encoding", ""):
            return Response(file.packed, headers={**headers, "content-encoding": "gzip"})
        return Response(file.body, headers=headers)


def _walk(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{path}{entry.name}/")
        elif _suffix(entry.name) in CONTENT_TYPES:
            yield path + entry.name, entry


def _read(path: str, file: Traversable) -> _File:
    body = file.read_bytes()
    # Weak: the packed form is another representation of the same text.
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    return _File(CONTENT_TYPES[_suffix(path)], body, gzip.compress(body, mtime=0), etag)


def _suffix(name: str) -> str:
    return f".{name.rpartition('.')[2]}"
