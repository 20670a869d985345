"""What all collaborations have in common: they are kinds of work whose spec has steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from upbeat.collaboration.terms import GroupOptions
from upbeat.collaboration.writing import write_terms
from upbeat.skill import In, Kind, Out
from upbeat.v1 import task_spec_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from upbeat.v1 import payload_pb2

_GROUP = frozenset(GroupOptions.__annotations__)


class Collaboration(Kind[In, Out]):
    """A kind of work that is done by children under a mode.

    It never changes once it is made, so one may be run many times and be a step
    of several others. Mistakes in its options are told where it is made.
    """

    mode: ClassVar[str]
    """The field of the contract's Collaboration that it fills."""

    def __init__(self, options: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        self.name = self.mode
        self._message = task_spec_pb2.TaskSpec()
        group = self._message.collaboration
        self._mode = getattr(group, self.mode)
        self._mode.SetInParent()
        unknown = options.keys() - known.keys()
        if unknown:
            raise TypeError(
                f"{self.mode}: unknown option {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}"
            )
        write_terms(group, {name: value for name, value in options.items() if name in _GROUP})
        write_terms(self._mode, {name: value for name, value in options.items() if name not in _GROUP})

    def spec(self) -> task_spec_pb2.TaskSpec:
        """The spec of a task of this kind, but for its input and its options."""
        spec = task_spec_pb2.TaskSpec()
        spec.CopyFrom(self._message)
        return spec

    def encode_input(self, value: In) -> payload_pb2.Payload:
        """The payload for a task: that of the first step; raises CodecError."""
        return self._receiver.encode_input(value)

    def decode_output(self, payload: payload_pb2.Payload) -> Out:
        """What the caller is given: what the last step's output is; raises CodecError."""
        output: Out = self._giver.decode_output(payload)
        return output

    _receiver: Kind[Any, Any]
    _giver: Kind[Any, Any]


def implied(options: Mapping[str, Any], term: str, words: Mapping[str, str]) -> dict[str, Any]:
    """The options with `term` as the first given of `words` implies it, unless it is there itself."""
    full = dict(options)
    word = next((words[name] for name in words if options.get(name) is not None), None)
    if word is not None and full.get(term) is None:
        full[term] = word
    return full
