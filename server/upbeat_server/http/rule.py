"""The ``google.api.http`` option of an RPC: its HTTP method and path, and whether its request is a body."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from google.api import annotations_pb2

from upbeat_server.http.path_template import PathTemplate

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor


class Rule(msgspec.Struct, frozen=True):
    """Where an RPC is served."""

    verb: str  # In upper case.
    template: PathTemplate
    takes_body: bool


def rule_of(method: MethodDescriptor) -> Rule | None:
    """The rule of an RPC; None without one. Raises ValueError for what is not used in this contract."""
    extensions = method.GetOptions().Extensions
    if annotations_pb2.http not in extensions:
        return None
    rule = extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    is_plain = verb not in (None, "custom") and not rule.additional_bindings and not rule.response_body
    if not is_plain or rule.body not in ("", "*"):
        raise ValueError(f"{method.full_name}: only one path, with body '*' or none, is supported")
    return Rule(verb.upper(), PathTemplate(getattr(rule, verb)), rule.body == "*")
