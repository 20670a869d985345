"""Gathers every bad field of a message, so that a caller learns of all of them at once."""

from __future__ import annotations

import re
from functools import lru_cache

from upbeat_server.engine import reasons
from upbeat_server.engine.model import Refusal
from upbeat_server.runtime.refused import Refused

FAULTS_MAX = 32
"""Named in one refusal; more than that is noise."""
SPEC = "spec"
"""What the path of a field of a spec begins with."""

TYPE_CHARS_MAX = 128

_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}")
_AGENT = re.compile(r"[A-Za-z0-9_.:/@-]{1,128}")
_LABEL_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,62}")
_REASON = re.compile(r"[A-Za-z0-9_.-]{1,63}")


class Faults:
    """What is wrong with a message: reason, field and words of each fault."""

    def __init__(self) -> None:
        self._faults: list[tuple[str, str, str]] = []
        self._more = 0

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, field: str, description: str, reason: str = reasons.INVALID_FIELD) -> None:
        """A field is at fault."""
        if len(self._faults) < FAULTS_MAX:
            self._faults.append((reason, field, description))
        else:
            self._more += 1

    def add_refusal(self, refusal: Refusal) -> None:
        """What somebody else found."""
        for field, description in refusal.violations:
            self.add(field, description, refusal.reason)

    def refusal(self) -> Refusal:
        """All faults as one refusal; its reason is theirs if they agree, else INVALID_FIELD."""
        found = {reason for reason, _, _ in self._faults}
        reason = found.pop() if len(found) == 1 else reasons.INVALID_FIELD
        _, field, description = self._faults[0]
        message = f"{field}: {description}"
        count = len(self._faults) + self._more
        if count > 1:
            message += f" (and {count - 1} more)"
        return Refusal(reason, message, violations=tuple((field, text) for _, field, text in self._faults))

    def raise_any(self) -> None:
        """Raise Refused if there is a fault."""
        if self._faults:
            raise Refused(self.refusal())


class FaultsWithin(Faults):
    """The faults of a nested spec, gathered with those of the spec that it stands in.

    Who reads it names fields ``spec.type`` as everywhere; here that becomes ``{path}.type``, where the
    path begins with the ``spec`` of the one around it. So a reader never needs to know how deep it is.
    """

    def __init__(self, outer: Faults, path: str) -> None:
        super().__init__()
        self._outer = outer
        self._path = path

    def __bool__(self) -> bool:
        return bool(self._outer)

    def add(self, field: str, description: str, reason: str = reasons.INVALID_FIELD) -> None:
        """A field is at fault."""
        self._outer.add(self._path + field.removeprefix(SPEC), description, reason)

    def refusal(self) -> Refusal:
        """All faults as one refusal, those around this spec included."""
        return self._outer.refusal()

    def raise_any(self) -> None:
        """Raise Refused if there is a fault."""
        self._outer.raise_any()


def is_type(text: str) -> bool:
    """Whether it can be a task type or a capability."""
    return len(text) <= TYPE_CHARS_MAX and _is_type(text)


@lru_cache(4_096)  # Types are few and come with every submission.
def _is_type(text: str) -> bool:
    return _TYPE.fullmatch(text) is not None and ".." not in text


def is_agent(text: str) -> bool:
    """Whether it can be an agent's id or name."""
    return _AGENT.fullmatch(text) is not None and ".." not in text


def is_reason(text: str) -> bool:
    """Whether it can be the reason of an error."""
    return _REASON.fullmatch(text) is not None


def is_label_key(text: str) -> bool:
    """Whether it can be the key of a label."""
    return _LABEL_KEY.fullmatch(text) is not None


def is_ascii(text: str, length_max: int) -> bool:
    """Whether it is printable ASCII of at most this length."""
    return len(text) <= length_max and text.isascii() and text.isprintable()


def is_plain(text: str, bytes_max: int) -> bool:
    """Whether all of it can be shown (nothing that moves a cursor or turns text around)."""
    return text.isprintable() and len(text.encode()) <= bytes_max


def cut_bytes(text: str, bytes_max: int) -> str:
    """The text, at most this long in UTF-8."""
    if len(text) * 4 <= bytes_max:
        return text
    data = text.encode()
    return text if len(data) <= bytes_max else data[:bytes_max].decode(errors="ignore")


LABELS_MAX = 32
LABEL_VALUE_BYTES_MAX = 255


def read_labels(labels: dict[str, str], field: str, faults: Faults) -> dict[str, str]:
    """Labels, by key."""
    if len(labels) > LABELS_MAX:
        faults.add(field, f"has {len(labels):,} entries; the limit is {LABELS_MAX}")
        return {}
    for key, value in labels.items():
        if not is_label_key(key):
            faults.add(
                f"{field}[{key[:64]!r}]",
                "the key must be 1 to 63 characters of [A-Za-z0-9_.:/-], the first one [A-Za-z0-9_]",
            )
        elif not is_plain(value, LABEL_VALUE_BYTES_MAX):
            faults.add(
                f"{field}.{key}",
                f"the value must be at most {LABEL_VALUE_BYTES_MAX} bytes without control characters",
            )
    return dict(sorted(labels.items()))
