"""Bearer tokens: read from a file or the environment, kept as digests, compared in constant time.

The file is TOML (or JSON, by its suffix), one table for each token:

    [[tokens]]
    name = "ci"                      # for the log
    token = "at least 16 characters" # or: sha256 = "hex digest of it"
    roles = ["submitter"]            # viewer, submitter, agent, admin
    namespaces = ["default"]         # "*" is all of them

It is read again when it changes; a file that cannot be used then is logged and
the tokens before it stay. Tokens themselves never reach a log or an error.
"""

from __future__ import annotations

import hashlib
import hmac
import tomllib
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from upbeat_server.clock import stopwatch_s
from upbeat_server.engine import reasons
from upbeat_server.rpc.identity import ALL_NAMESPACES, GRANTS, Identity, Role
from upbeat_server.runtime.refused import refused

if TYPE_CHECKING:
    from pathlib import Path

log = structlog.get_logger(__name__)

TOKEN_CHARS_MIN: Final = 16
TOKEN_CHARS_MAX: Final = 1_024
CHECK_INTERVAL_S: Final = 1.0
"""How often the file's time is looked at, at most."""

_SCHEME: Final = "bearer "


class TokensInvalid(Exception):
    """The tokens cannot be used; the text says which and why, and holds no token."""


class TokenEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One token as it stands in the file."""

    name: str
    roles: tuple[str, ...]
    namespaces: tuple[str, ...] = ("default",)
    token: str = ""
    sha256: str = ""


class TokenFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file as a whole."""

    tokens: tuple[TokenEntry, ...]


class TokenBook:
    """The tokens a server knows."""

    def __init__(self, entries: dict[bytes, Identity]) -> None:
        self._entries = entries

    def identify(self, authorization: str | None) -> Identity:
        """The identity behind an ``authorization`` header. Raises Refused(TOKEN_INVALID)."""
        if authorization is None or authorization[: len(_SCHEME)].lower() != _SCHEME:
            raise refused(
                reasons.TOKEN_INVALID,
                "this server wants a token: send the metadata `authorization: Bearer TOKEN`",
            )
        token = authorization[len(_SCHEME) :].strip()
        digest = hashlib.sha256(token[:TOKEN_CHARS_MAX].encode()).digest()
        found: Identity | None = None
        for known, identity in self._entries.items():  # All of them: the time tells nothing.
            if hmac.compare_digest(known, digest):
                found = identity
        if found is None or len(token) > TOKEN_CHARS_MAX:
            raise refused(reasons.TOKEN_INVALID, "this server does not know the token")
        return found

    def __len__(self) -> int:
        return len(self._entries)


class TokenFileBook:
    """A TokenBook that follows its file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._book = read_tokens(path)
        self._checked_s = stopwatch_s()
        if path.stat().st_mode & 0o004:
            log.warning("tokens_file_readable_by_all", path=str(path), remedy=f"chmod o-r {path}")

    def identify(self, authorization: str | None) -> Identity:
        """The identity behind an ``authorization`` header. Raises Refused(TOKEN_INVALID)."""
        now_s = stopwatch_s()
        if now_s - self._checked_s >= CHECK_INTERVAL_S:
            self._checked_s = now_s
            self.reload()
        return self._book.identify(authorization)

    def reload(self) -> None:
        """Read the file again if it changed."""
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._book = read_tokens(self._path)
        except TokensInvalid as error:
            log.exception("tokens_file_unusable", path=str(self._path), error=str(error))
        else:
            log.info("tokens_file_read", path=str(self._path), tokens=len(self._book))


def read_tokens(path: Path) -> TokenBook:
    """The tokens of a file. Raises TokensInvalid."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TokensInvalid(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TokensInvalid(f"{path} is not text") from None
    if path.suffix.lower() == ".json":
        return parse_tokens(text, str(path))
    try:
        return _book(tomllib.loads(text), str(path))
    except tomllib.TOMLDecodeError as error:
        # The decoder quotes a character at most; a line of the file could be a token.
        raise TokensInvalid(f"{path} is not TOML: {error}") from None


def parse_tokens(text: str, where: str) -> TokenBook:
    """The tokens of a JSON text: an object as in the file, or just the list. Raises TokensInvalid."""
    try:
        tree = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise TokensInvalid(f"{where} is not JSON: {error}") from None
    return _book({"tokens": tree} if isinstance(tree, list) else tree, where)


def _book(tree: object, where: str) -> TokenBook:
    try:
        entries = msgspec.convert(tree, TokenFile).tokens
    except msgspec.ValidationError as error:
        raise TokensInvalid(f"{where}: {error}") from None
    if not entries:
        raise TokensInvalid(f"{where} names no token: nobody could call this server")
    book: dict[bytes, Identity] = {}
    for index, entry in enumerate(entries):
        digest = _digest(entry, f"{where}: tokens[{index}] ({entry.name!r})")
        if digest in book:
            raise TokensInvalid(f"{where}: tokens[{index}] ({entry.name!r}) repeats the token of another one")
        book[digest] = _identity(entry, f"{where}: tokens[{index}] ({entry.name!r})")
    return TokenBook(book)


def _digest(entry: TokenEntry, where: str) -> bytes:
    if bool(entry.token) == bool(entry.sha256):
        raise TokensInvalid(f"{where} must have either token or sha256")
    if entry.token:
        if not TOKEN_CHARS_MIN <= len(entry.token) <= TOKEN_CHARS_MAX:
            raise TokensInvalid(f"{where}: a token has {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX:,} characters")
        if not entry.token.isascii() or not entry.token.isprintable() or " " in entry.token:
            raise TokensInvalid(f"{where}: a token is printable ASCII without spaces")
        return hashlib.sha256(entry.token.encode()).digest()
    try:
        digest = bytes.fromhex(entry.sha256)
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise TokensInvalid(f"{where}: sha256 must be 64 hexadecimal digits")
    return digest


def _identity(entry: TokenEntry, where: str) -> Identity:
    unknown = [role for role in entry.roles if role not in set(Role)]
    if unknown or not entry.roles:
        known = ", ".join(role.value for role in Role)
        raise TokensInvalid(f"{where}: roles must name one or more of {known}")
    if not entry.namespaces or not all(entry.namespaces):
        raise TokensInvalid(f'{where}: namespaces must name one or more, or "{ALL_NAMESPACES}" for all')
    roles = frozenset(granted for role in entry.roles for granted in GRANTS[Role(role)])
    return Identity(entry.name, roles, frozenset(entry.namespaces))


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file does; zeros for one that is not there."""
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0)
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino)
