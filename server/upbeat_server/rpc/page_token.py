"""Page tokens: where a listing goes on, signed and bound to the listing it came from."""

from __future__ import annotations

import base64
import binascii
from hashlib import blake2b
from hmac import compare_digest

from upbeat_server.engine import reasons
from upbeat_server.runtime.refused import Refused, invalid

DIGEST_BYTES = 12
TOKEN_CHARS_MAX = 1_024


class PageTokens:
    """Makes and reads page tokens under a key of this process."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, query: tuple[str, ...], position: str) -> str:
        """A token that goes on behind ``position`` of the listing ``query``."""
        data = position.encode()
        return base64.urlsafe_b64encode(self._digest(query, data) + data).decode().rstrip("=")

    def read(self, query: tuple[str, ...], token: str) -> str:
        """The position; "" for "". Raises Refused (INVALID_PAGE_TOKEN)."""
        if not token:
            return ""
        if len(token) > TOKEN_CHARS_MAX:
            raise _not_ours()
        try:
            raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error):
            raise _not_ours() from None
        digest, data = raw[:DIGEST_BYTES], raw[DIGEST_BYTES:]
        if not compare_digest(digest, self._digest(query, data)):
            raise _not_ours()
        return data.decode()

    def _digest(self, query: tuple[str, ...], data: bytes) -> bytes:
        digest = blake2b(key=self._key, digest_size=DIGEST_BYTES)
        for part in query:
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
        digest.update(data)
        return digest.digest()


def read_page_size(page_size: int, default: int, most: int) -> int:
    """How many to answer. Raises Refused (INVALID_FIELD)."""
    if page_size < 0:
        raise invalid("page_size", f"{page_size} is negative; 0 means {default}, the most is {most:,}")
    return min(page_size or default, most)


def _not_ours() -> Refused:
    return invalid(
        "page_token",
        "is not a next_page_token of this listing (same namespace, filter and order): start over without it",
        reasons.INVALID_PAGE_TOKEN,
    )
