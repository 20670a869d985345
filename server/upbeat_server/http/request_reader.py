"""What an HTTP request asks for, as the request message of an RPC.

Body, query and path name fields of one message: they are put together as one tree and
read at once, so that a caller learns of every fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from google.protobuf.message_factory import GetMessageClass

from upbeat_server.http.json_text import malformed, read_json
from upbeat_server.http.message_reader import reader_of
from upbeat_server.http.path_template import decoded
from upbeat_server.http.query import merge, query_pairs, tree_of_pairs
from upbeat_server.rpc.faults import Faults
from upbeat_server.runtime.refused import Refused

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

    from upbeat_server.http.message_reader import MessageReader


class Asked(msgspec.Struct):
    """A request as it came."""

    body: bytes
    query: str
    variables: list[tuple[str, str]]  # Of the path, still encoded.
    resumed: list[tuple[str, str]] = []  # Stand for what the query says of the same fields.


class RequestReader:
    """Reads requests of one type."""

    def __init__(self, descriptor: Descriptor, known: dict[str, MessageReader]) -> None:
        self._new = GetMessageClass(descriptor)
        self._reader = known.get(descriptor.full_name) or reader_of(descriptor, known)

    def read(self, asked: Asked) -> bytes | Refused:
        """The message as bytes, or the refusal with every bad field; for the call to begin with."""
        try:
            return self._read(asked)
        except Refused as refusal:
            return refusal

    def has_field(self, name: str) -> bool:
        """Whether requests have a field of this name."""
        return name in self._reader.fields

    def _read(self, asked: Asked) -> bytes:
        faults = Faults()
        resumed = dict(asked.resumed)
        pairs = [pair for pair in query_pairs(asked.query) if pair[0] not in resumed] if asked.query else []
        pairs += [(name, decoded(name, text)) for name, text in asked.variables]
        pairs += resumed.items()
        tree: Any = read_json(asked.body) if asked.body else {}
        if pairs and isinstance(tree, dict):
            tree = merge(self._reader, tree, tree_of_pairs(self._reader, pairs, faults), faults)
        message = self._new()
        try:
            self._reader.fill(message, tree, "", faults)
        except RecursionError:
            raise malformed("it has too many levels") from None
        faults.raise_any()
        return message.SerializeToString()
