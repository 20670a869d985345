"""Who calls: identities, roles, and what a role may do.

The identity comes from the connection's metadata (``authorization: Bearer ...``)
and is fixed before a message is read; a namespace inside a message is checked
against it exactly once, in ``Call.namespace``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Protocol

import msgspec


class Role(StrEnum):
    """What a token is for. A method needs one; ``GRANTS`` says which others include it."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    AGENT = "agent"
    ADMIN = "admin"


GRANTS: Final[dict[Role, frozenset[Role]]] = {
    Role.VIEWER: frozenset((Role.VIEWER,)),
    Role.SUBMITTER: frozenset((Role.VIEWER, Role.SUBMITTER)),
    Role.AGENT: frozenset((Role.AGENT,)),
    Role.ADMIN: frozenset(Role),
}

ALL_NAMESPACES: Final = "*"


class Identity(msgspec.Struct, frozen=True):
    """A caller: a name for the log, what it may do, and where."""

    name: str
    roles: frozenset[Role]  # Already widened by GRANTS.
    namespaces: frozenset[str]  # May hold ALL_NAMESPACES.

    def may_enter(self, namespace: str) -> bool:
        """Whether it may act in the namespace."""
        return namespace in self.namespaces or ALL_NAMESPACES in self.namespaces


ANONYMOUS: Final = Identity("anonymous", GRANTS[Role.ADMIN], frozenset((ALL_NAMESPACES,)))
"""Everybody, on a server that knows no tokens."""


class Authenticator(Protocol):
    """Tells who a caller is."""

    def identify(self, authorization: str | None) -> Identity:
        """The identity behind an ``authorization`` header. Raises Refused(TOKEN_INVALID)."""


class OpenDoor:
    """The authenticator of a server without tokens."""

    def identify(self, authorization: str | None) -> Identity:  # noqa: ARG002
        """Everybody is ANONYMOUS."""
        return ANONYMOUS
