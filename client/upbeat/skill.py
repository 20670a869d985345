"""Kinds of work: what goes in and comes out of a task, and how its spec begins.

A skill is the name of a kind of work that agents do. Callers and agents share
it, so that both sides are checked by the type checker:
`SUMMARIZE = Skill("summarize", Doc, Summary)`. A collaboration is a kind made of
others (`upbeat.collaboration`).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from upbeat import codec
from upbeat.v1 import task_spec_pb2

if TYPE_CHECKING:
    from upbeat.v1 import payload_pb2

In = TypeVar("In", contravariant=True)  # noqa: PLC0105 - an editor shows In and Out
Out = TypeVar("Out", covariant=True)  # noqa: PLC0105

_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}")


def checked_type(name: str) -> str:
    """`name` if it can be a task type or capability; raises ValueError."""
    if not _TYPE.fullmatch(name):
        raise ValueError(
            f"{name!r}: a type has 1 to 128 characters of [A-Za-z0-9_.:/-], the first a letter or digit"
        )
    return name


class Kind(ABC, Generic[In, Out]):
    """A kind of work, single or a collaboration: what `Client.run`, `submit` and `map` take."""

    __slots__ = ()

    name: str

    @abstractmethod
    def spec(self) -> task_spec_pb2.TaskSpec:
        """The spec of a task of this kind, but for its input and its options."""

    @abstractmethod
    def encode_input(self, value: In) -> payload_pb2.Payload:
        """The payload for a task; raises CodecError."""

    @abstractmethod
    def decode_output(self, payload: payload_pb2.Payload) -> Out:
        """What the caller is given; raises CodecError."""


class Skill(Kind[In, Out]):
    """A typed kind of work that agents do.

    `input` and `output` are dataclasses, pydantic models, protobuf messages,
    `dict`, `list[...]`, `str`, `bytes`, `NoneType` or anything else that JSON
    can hold.
    """

    __slots__ = ("input", "name", "output")

    def __init__(self, name: str, input: type[In], output: type[Out]) -> None:  # noqa: A002
        self.name = checked_type(name)
        self.input = input
        self.output = output

    def __repr__(self) -> str:
        return f"Skill({self.name!r}, {codec.name_of(self.input)}, {codec.name_of(self.output)})"

    def spec(self) -> task_spec_pb2.TaskSpec:
        """The spec of a task of this kind, but for its input and its options."""
        return task_spec_pb2.TaskSpec(type=self.name)

    def encode_input(self, value: In) -> payload_pb2.Payload:
        """The payload for a task; raises CodecError."""
        return codec.encode(value, self.input)

    # For whoever has the skill of a handler and knows no types; a kind only takes inputs and gives outputs.

    def decode_input(self, payload: payload_pb2.Payload) -> Any:
        """What the handler is given; raises CodecError."""
        return codec.decode(payload, self.input)

    def encode_output(self, value: Any) -> payload_pb2.Payload:
        """The payload for a result; raises CodecError."""
        return codec.encode(value, self.output)

    def decode_output(self, payload: payload_pb2.Payload) -> Out:
        """What the caller is given; raises CodecError."""
        value: Out = codec.decode(payload, self.output)
        return value


def as_skill(skill: Skill[Any, Any] | str) -> Skill[Any, Any]:
    """A bare type becomes a skill whose values are encoded by what they are."""
    return Skill(skill, Any, Any) if isinstance(skill, str) else skill


def as_kind(kind: Kind[Any, Any] | str) -> Kind[Any, Any]:
    """A bare type becomes a skill, as with `as_skill`."""
    return as_skill(kind) if isinstance(kind, str) else kind
