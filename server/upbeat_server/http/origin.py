"""Keeps pages of other sites from changing anything with a browser's help.

A browser sends a form or a plain POST to any address, this machine's included, without
asking; where there are no tokens that would be enough. It says where a request comes
from, though: ``Sec-Fetch-Site``, and ``Origin`` where that is missing. Programs send
neither and are not concerned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from upbeat_server.http.errors import HttpError

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.datastructures import Headers


def expect_same_site(headers: Headers, allowed: Collection[str]) -> None:
    """Raise HttpError for a request of a page that is neither ours nor of an allowed origin."""
    origin = headers.get("origin")
    if origin is not None and origin in allowed:
        return
    site = headers.get("sec-fetch-site")
    if site is None and origin is not None:
        site = "same-origin" if urlsplit(origin).netloc == headers.get("host") else "cross-site"
    if site not in (None, "same-origin", "none"):
        raise HttpError(
            403,
            "PERMISSION_DENIED",
            f"a page of {(origin or 'another site')[:200]!r} may not change anything here: "
            "allow its origin with listen.http_origins",
        )
